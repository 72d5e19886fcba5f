// The social network of the LDBC Social Network Benchmark, as its generator writes it:
// one file a node table (Person.csv), one a pair of a relationship table
// (Person_knows_Person.csv).  Source: https://ldbcouncil.org/benchmarks/snb/
// The field :LABEL of organisations and places is the property `type`.

CREATE NODE TABLE IF NOT EXISTS Person(id INT64 PRIMARY KEY, firstName STRING, lastName STRING, gender STRING, birthday INT64, creationDate INT64, locationIP STRING, browserUsed STRING);
CREATE NODE TABLE IF NOT EXISTS Forum(id INT64 PRIMARY KEY, title STRING, creationDate INT64);
CREATE NODE TABLE IF NOT EXISTS Organisation(id INT64 PRIMARY KEY, type STRING, name STRING, url STRING);
CREATE NODE TABLE IF NOT EXISTS Place(id INT64 PRIMARY KEY, name STRING, url STRING, type STRING);
CREATE NODE TABLE IF NOT EXISTS Tag(id INT64 PRIMARY KEY, name STRING, url STRING);
CREATE NODE TABLE IF NOT EXISTS TagClass(id INT64 PRIMARY KEY, name STRING, url STRING);

CREATE REL TABLE IF NOT EXISTS knows(FROM Person TO Person, creationDate INT64);
CREATE REL TABLE IF NOT EXISTS hasInterest(FROM Person TO Tag);
CREATE REL TABLE IF NOT EXISTS isLocatedIn(FROM Person TO Place, FROM Organisation TO Place);
CREATE REL TABLE IF NOT EXISTS studyAt(FROM Person TO Organisation, classYear INT64);
CREATE REL TABLE IF NOT EXISTS workAt(FROM Person TO Organisation, workFrom INT64);
CREATE REL TABLE IF NOT EXISTS hasModerator(FROM Forum TO Person);
CREATE REL TABLE IF NOT EXISTS hasTag(FROM Forum TO Tag);
CREATE REL TABLE IF NOT EXISTS isPartOf(FROM Place TO Place);
CREATE REL TABLE IF NOT EXISTS hasType(FROM Tag TO TagClass);
CREATE REL TABLE IF NOT EXISTS isSubclassOf(FROM TagClass TO TagClass);
