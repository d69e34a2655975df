"""Files at the top: the cluster's, the lock, the licence."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

ROOT = Path(__file__).parents[1]


def pins():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return dict(line.split("==") for line in lines if line and not line.startswith("#"))


@pytest.mark.filterwarnings("ignore")
def test_rays_own_schema_accepts_the_cluster_file():
    config = prepare_config(yaml.safe_load((ROOT / "cluster.yaml").read_text()))
    validate_config(config)
    assert config["available_node_types"]["h100"]["resources"]["GPU"] == 8


def test_the_cluster_opens_no_port_and_needs_imdsv2():
    config = yaml.safe_load((ROOT / "cluster.yaml").read_text())
    for node in config["available_node_types"].values():
        assert node["node_config"]["MetadataOptions"]["HttpTokens"] == "required"
        assert node["node_config"]["SecurityGroupIds"], "without one Ray opens ssh to the world"
    assert config["provider"]["use_internal_ips"] is True


def test_the_lock_pins_every_dependency_to_what_pyproject_takes():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    locked = {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in pins().items()}
    for requirement in named:
        name, exact = re.match(r"([\w.-]+)(?:\[.*?\])?(?:==([\w.]+))?", requirement).groups()
        version = locked[re.sub(r"[-_.]+", "-", name).lower()]
        assert exact in (None, version), requirement


def test_the_licence_is_apache_2():
    assert "Apache License" in (ROOT / "LICENSE").read_text()
