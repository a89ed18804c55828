from __future__ import annotations

import platform
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from dqn_cli import memory
from dqn_cli.memory import check_memory, free_bytes, keep_large_blocks

GIGABYTE = 10**9


@pytest.fixture
def cgroup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Returns an empty folder in place of the container's limits; 8 GB of memory are free."""
    monkeypatch.setattr(memory, "CGROUP", tmp_path)
    available(monkeypatch, 8 * GIGABYTE)
    return tmp_path


def available(monkeypatch: pytest.MonkeyPatch, free: int) -> None:
    memory_info = SimpleNamespace(available=free)
    monkeypatch.setattr("dqn_cli.memory.psutil.virtual_memory", lambda: memory_info)


def limit(cgroup: Path, most: str, used: int) -> None:
    (cgroup / "memory.max").write_text(f"{most}\n")
    (cgroup / "memory.current").write_text(f"{used}\n")


def test_without_a_container_the_machines_free_memory_is_free(cgroup: Path) -> None:
    assert free_bytes() == 8 * GIGABYTE


def test_a_container_has_its_limit_less_what_it_uses(cgroup: Path) -> None:
    limit(cgroup, str(5 * GIGABYTE), 2 * GIGABYTE)
    assert free_bytes() == 3 * GIGABYTE


def test_a_container_cant_use_more_than_the_machine_has_free(cgroup: Path) -> None:
    limit(cgroup, str(50 * GIGABYTE), 2 * GIGABYTE)
    assert free_bytes() == 8 * GIGABYTE


def test_a_container_without_a_limit_has_the_machines_memory(cgroup: Path) -> None:
    limit(cgroup, "max", 2 * GIGABYTE)
    assert free_bytes() == 8 * GIGABYTE


@pytest.mark.parametrize("missing", ["memory.max", "memory.current"])
def test_a_limit_without_its_usage_or_the_reverse_is_ignored(cgroup: Path, missing: str) -> None:
    limit(cgroup, str(5 * GIGABYTE), 2 * GIGABYTE)
    (cgroup / missing).unlink()
    assert free_bytes() == 8 * GIGABYTE


def test_this_machine_has_some_memory_free() -> None:
    assert 0 < free_bytes() < 2**50


def test_a_buffer_on_a_gpu_needs_the_gpus_memory(
    cgroup: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.mem_get_info", lambda: (6 * GIGABYTE, 80 * GIGABYTE))
    assert free_bytes("cuda") == 6 * GIGABYTE
    check_memory(100, int(5.6 * GIGABYTE), "cuda")
    with pytest.raises(ValueError, match=r"needs 5\.8 GB of memory, and 6\.0 GB are free"):
        check_memory(100, int(5.8 * GIGABYTE), "cuda")


def test_a_buffer_that_fits_is_no_error(cgroup: Path) -> None:
    check_memory(1000, 0)
    check_memory(1000, int(7.6 * GIGABYTE))  # 95 % of what is free


def test_a_buffer_that_does_not_fit_is_an_error_that_names_a_capacity_that_does(
    cgroup: Path,
) -> None:
    # 7.6 of 28 GB
    message = (
        "replay.capacity=1000000 needs 28.0 GB of memory, and 8.0 GB are free:"
        " replay.capacity=270000 fits"
    )
    with pytest.raises(ValueError, match=re.escape(message)):
        check_memory(1_000_000, 28 * GIGABYTE)


@pytest.mark.parametrize("free", [1, 999, 123_456_789, 5 * GIGABYTE])
@pytest.mark.parametrize("bytes_each", [1, 17, 7056, 28_224])
def test_the_capacity_that_is_named_fits_and_an_eighth_more_does_not(
    cgroup: Path, monkeypatch: pytest.MonkeyPatch, bytes_each: int, free: int
) -> None:
    available(monkeypatch, free)
    capacity = 10**10
    with pytest.raises(ValueError, match="fits") as refused:
        check_memory(capacity, capacity * bytes_each)
    named = re.search(r"replay\.capacity=(\d+) fits", str(refused.value))
    assert named
    fits = int(named[1])
    check_memory(fits, fits * bytes_each)
    more = fits + fits // 8 + 1
    with pytest.raises(ValueError, match="fits"):
        check_memory(more, more * bytes_each)


def test_the_limit_of_a_container_counts_too(cgroup: Path) -> None:
    limit(cgroup, str(3 * GIGABYTE), GIGABYTE)
    with pytest.raises(ValueError, match=r"and 2\.0 GB are free: replay\.capacity=470 fits"):
        check_memory(1000, 4 * GIGABYTE)


def test_a_container_that_is_full_names_no_negative_capacity(cgroup: Path) -> None:
    limit(cgroup, str(3 * GIGABYTE), 3 * GIGABYTE + 4096)
    with pytest.raises(ValueError, match=r"0\.0 GB are free") as refused:
        check_memory(1000, GIGABYTE)
    assert "=-" not in str(refused.value)
    assert "-0.0" not in str(refused.value)


def test_the_page_cache_of_a_container_is_free_memory(cgroup: Path) -> None:
    limit(cgroup, str(5 * GIGABYTE), 5 * GIGABYTE)
    (cgroup / "memory.stat").write_text(f"anon {GIGABYTE}\ninactive_file {4 * GIGABYTE}\n")
    assert free_bytes() == 4 * GIGABYTE


@pytest.fixture
def default_allocator(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keeps settings of this process from child processes."""
    monkeypatch.delenv("THP_MEM_ALLOC_ENABLE", raising=False)


BLOCKS = """
import psutil, resource, torch
from dqn_cli.memory import keep_large_blocks

def taken():
    pages = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    return psutil.Process().memory_info().vms, pages

keep_large_blocks()
kept = []
for count in range(200):
    if count == 50:
        before = taken()
    block = torch.empty(11_000_000, dtype=torch.uint8).fill_(1)  # as large as those of an update
    kept.append(torch.empty(8_000 + count % 50))  # a small block beside it that stays
    del block
print(*(now - then for now, then in zip(taken(), before)))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_freed_large_blocks_are_reused(default_allocator: None) -> None:
    # Otherwise dozens of freed blocks stay, or each block comes from the system in new pages.
    command = [sys.executable, "-c", BLOCKS]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    grown, pages = map(int, printed.split())
    assert grown < 50e6
    assert pages < 150 * 100


A_RUN = """
import torch
from dqn_cli.commands.train import main

try:
    main()
finally:
    blocks = [torch.empty(3_000_000, dtype=torch.uint8) for _ in range(3)]
    print([block.data_ptr() % 4096 for block in blocks])
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_a_run_sets_the_allocator_before_its_first_tensor(
    in_folder: Path, default_allocator: None
) -> None:
    words = ["steps=20", "network.widths=[4]", "eval.episodes=1", "hydra.run.dir=run"]
    command = [sys.executable, "-c", A_RUN, *words]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert printed.splitlines()[-1] == "[0, 0, 0]"


def test_another_c_library_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ctypes.CDLL", lambda name: object())
    keep_large_blocks()
