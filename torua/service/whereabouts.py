"""The file in the data dir that tells scripts where a node listens."""

import json
import os
from pathlib import Path

from torua.config import Config
from torua.core.ids import Address
from torua.storage.identity import KeptIdentity


def node_file(config: Config) -> Path:
    """Name the file that tells scripts where the node listens."""
    return config.data_dir / "node.json"


def write_node_file(
    config: Config, kept: KeptIdentity, http: Address, cluster: Address
) -> None:
    """Tell scripts where the node listens, whole or not at all.

    Args:
        config: says where the data dir is.
        kept: who the node is.
        http: where it serves.
        cluster: where it meets peers.
    """
    path = node_file(config)
    beside = path.with_suffix(".new")
    told = {
        "node_id": kept.node_id,
        "name": kept.name,
        "http": str(http),
        "cluster": str(cluster),
        "pid": os.getpid(),
    }
    beside.write_text(json.dumps(told) + "\n")
    beside.replace(path)
