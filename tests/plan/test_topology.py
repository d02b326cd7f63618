"""Topologies by name: what they are, and what is said of those that are not."""

import importlib.util
import math

import pytest
from jax.experimental import topologies

from samjax.core.errors import UserError
from samjax.plan.topology import parse_topology, roomier, topology_devices


@pytest.mark.parametrize(
    ("text", "kind", "chips"),
    [
        ("v5e:16x16", "v5e", 256),
        ("v4:4x4x8", "v4", 128),
        ("v5p:4x4x8", "v5p", 128),
        ("v6e:2x2", "v6e", 4),
        ("cpu:8", "cpu", 8),
    ],
)
def test_names_are_kinds_and_sizes(text, kind, chips):
    topology = parse_topology(text)
    assert (topology.kind, topology.chips, str(topology)) == (kind, chips, text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("v9:2x2", "'v9' is not a kind of chip that can be compiled for; give one of v4:4x4x8, v5e:16x16"),
        ("h100:8", "'h100' is not a kind"),
        ("", "'' is not a kind"),
        ("v5e:2x2x2", "the size of v5e is two numbers, as in v5e:16x16"),
        ("v5p:4x4", "the size of v5p is three numbers, as in v5p:4x4x8"),
        ("v5e:0x4", "two numbers"),
        ("v5e", "two numbers"),
        ("cpu:many", "a number, as in cpu:8"),
    ],
)
def test_bad_names(text, said):
    with pytest.raises(UserError, match=said):
        parse_topology(text)


def test_cpu_devices_are_this_process_own():
    assert [device.platform for device in topology_devices(parse_topology("cpu:8"))] == ["cpu"] * 8
    with pytest.raises(UserError, match="started in this process with 8 CPU devices"):
        topology_devices(parse_topology("cpu:1000"))


def test_a_tpu_without_its_compiler_says_what_to_install(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(UserError, match=r"pip install 'samjax\[tpu\]'"):
        topology_devices(parse_topology("v5e:2x2"))


def test_a_slice_that_libtpu_does_not_know_is_refused_in_its_words(monkeypatch):
    def refuse(*_, **__):
        raise RuntimeError('INVALID_ARGUMENT: Topology layout "v5e:2x2" is not divisible\nand a trace')

    monkeypatch.setattr(importlib.util, "find_spec", lambda _: True)
    monkeypatch.setattr(topologies, "get_topology_desc", refuse)
    with pytest.raises(UserError, match=r"no such slice \(INVALID_ARGUMENT: .* not divisible\); try v5e:16x16"):
        topology_devices(parse_topology("v5e:2x2"))


@pytest.mark.parametrize("text", ["v5e:16x16", "v5e:2x2", "v4:4x4x8", "v6e:2x4"])
def test_roomier_chips_are_as_many(text):
    topology = parse_topology(text)
    other = roomier(topology)
    assert other is not None
    assert (other.kind, other.chips) == ("v5p", topology.chips)
    assert math.prod(other.shape[:2]) == topology.chips
    assert not any(size % 2 for size in other.shape[:2])


def test_there_is_nothing_roomier_than_v5p():
    assert roomier(parse_topology("v5p:4x4x8")) is None
    assert roomier(parse_topology("cpu:8")) is None
