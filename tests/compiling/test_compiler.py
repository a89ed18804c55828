from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from dqn_cli.compiling.background import Background
from dqn_cli.compiling.code_cache import cache_folder
from dqn_cli.compiling.compiler import AheadOfTime

ANNOUNCEMENT = "compiling, once for runs like this one; it takes 10 to 45 s, more for images"
Function = Callable[..., Any]
DOUBLE = torch.float64
close = partial(assert_close, rtol=1e-12, atol=1e-12)


def no_warning(line: str) -> None:
    assert line == ANNOUNCEMENT


class Pair(NamedTuple):
    left: Any  # [rows, 3]
    right: Any  # [rows, 3]


def mixed(total: Tensor, weights: Any, pair: Pair, scale: Tensor) -> tuple[Tensor, Tensor]:
    """The one function that is really compiled here."""
    (inner,) = weights
    total.add_((pair.left - pair.right).sum(0))
    return (pair.left @ inner[0]) * scale, total * 2


class Fixed(NamedTuple):
    total: Any  # [3]
    weights: tuple[tuple[Tensor]]  # [3, 3]


def fixed() -> Fixed:
    torch.manual_seed(1)
    return Fixed(torch.zeros(3, dtype=DOUBLE), ((torch.randn(3, 3, dtype=DOUBLE),),))


def changing(seed: int, rows: int = 4) -> tuple[Pair, Tensor]:
    torch.manual_seed(seed)
    left, right = torch.randn(2, rows, 3, dtype=DOUBLE)
    return Pair(left, right), torch.randn(3, dtype=DOUBLE)


@pytest.fixture(scope="module", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The user's own cache is neither read nor filled."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        torch.set_num_threads(1)  # as each test has it: it belongs to a package's name
        yield


@pytest.fixture(scope="module")
def mixed_package(own_cache: None) -> Path:
    """The package of `mixed`, for inputs as above."""
    compiler, before = AheadOfTime(), set(cache_folder().iterdir())
    compiler(mixed, fixed())(*changing(0))
    assert compiler.works
    (package,) = set(cache_folder().iterdir()) - before
    return package


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return cache_folder()


@pytest.fixture
def pretended(empty_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Packages take no time to make, and do nothing."""

    def make(program: Any, package_path: str, **options: Any) -> None:
        Path(package_path).write_bytes(b"")

    monkeypatch.setattr("torch._inductor.aoti_compile_and_package", make)
    load_with(monkeypatch, lambda package: lambda inputs: [])
    return empty_cache


def load_with(monkeypatch: pytest.MonkeyPatch, load: Callable[[Path], Function]) -> None:
    """Let `load` take the place of PyTorch's loader of packages."""

    def loader(package: str, *options: Any) -> SimpleNamespace:
        return SimpleNamespace(run=load(Path(package)))

    monkeypatch.setattr("torch._C._aoti.AOTIModelPackageLoader", loader)


def cant_compile(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def fail(*arguments: Any, **options: Any) -> None:
        raise error

    monkeypatch.setattr("torch._inductor.aoti_compile_and_package", fail)


@pytest.fixture
def compiled(mixed_package: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Function]:
    """`mixed` with the given fixed tensors, from its package alone."""
    cant_compile(monkeypatch, AssertionError("compiled again"))

    def loaded(own: Fixed, function: Function = mixed) -> Function:
        compiler = AheadOfTime(say=pytest.fail)
        return compiler(function, own)

    return loaded


@pytest.fixture
def nothing_compiles(empty_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    cant_compile(monkeypatch, RuntimeError("no compiler\nhere"))
    return empty_cache


def test_results_are_those_of_the_plain_function(compiled: Callable[..., Function]) -> None:
    run, plain = compiled(fixed()), partial(mixed, *fixed())
    for seed in range(5):
        result, expected = run(*changing(seed)), plain(*changing(seed))
        assert len(result) == len(expected)
        for mine, yours in zip(result, expected, strict=True):
            close(mine, yours)


def test_fixed_tensors_are_changed_in_place(compiled: Callable[..., Function]) -> None:
    mine, yours = fixed(), fixed()
    run, plain = compiled(mine), partial(mixed, *yours)
    for seed in range(5):
        run(*changing(seed)), plain(*changing(seed))
        close(mine.total, yours.total)
        assert mine.total.abs().min() > 0
    assert torch.equal(mine.weights[0][0], yours.weights[0][0])


def test_changes_of_fixed_tensors_by_others_count(compiled: Callable[..., Function]) -> None:
    mine, yours = fixed(), fixed()
    run, plain = compiled(mine), partial(mixed, *yours)
    run(*changing(0)), plain(*changing(0))
    for own in (mine, yours):
        own.total.fill_(7)
        own.weights[0][0].mul_(3)
    for one, other in zip(run(*changing(1)), plain(*changing(1)), strict=True):
        close(one, other)


def test_results_stay_as_they_were_when_it_runs_again(compiled: Callable[..., Function]) -> None:
    run = compiled(fixed())
    first = run(*changing(0))
    kept = [tensor.clone() for tensor in first]
    run(*changing(1))
    assert all(map(torch.equal, first, kept))


def test_inputs_are_not_changed(compiled: Callable[..., Function]) -> None:
    pair, scale = changing(3)
    compiled(fixed())(pair, scale)
    for mine, yours in zip((*pair, scale), (*changing(3)[0], changing(3)[1]), strict=True):
        assert torch.equal(mine, yours)


def test_arrays_go_in_as_tensors_on_their_memory(compiled: Callable[..., Function]) -> None:
    own = fixed()
    total = np.zeros(3)
    run, plain = compiled(own._replace(total=total)), partial(mixed, *own)
    pair, scale = changing(1)
    arrays = Pair(pair.left.numpy(), pair.right.numpy().T.copy().T)
    for mine, yours in zip(run(arrays, scale.numpy()), plain(pair, scale), strict=True):
        close(mine, yours)
    close(torch.from_numpy(total), own.total)


@pytest.mark.parametrize("small", [0, 2**16])
@pytest.mark.parametrize("scattered", [False, True])
def test_changes_in_place_between_calls_count(
    compiled: Callable[..., Function],
    monkeypatch: pytest.MonkeyPatch,
    small: int,
    scattered: bool,
) -> None:
    monkeypatch.setattr("dqn_cli.compiling.call_inputs.SMALL", small)
    run, plain = compiled(fixed()), partial(mixed, *fixed())
    pair, scale = changing(1)
    array = (turned(pair.left) if scattered else pair.left).numpy()
    for factor in (1, 2, 3):
        array *= factor
        scale *= factor
        tensor = torch.from_numpy(array.copy())
        expected = plain(Pair(tensor, pair.right), scale)
        for mine, yours in zip(run(Pair(array, pair.right), scale), expected, strict=True):
            close(mine, yours)


@pytest.mark.parametrize("small", [0, 2**16])
def test_arrays_and_tensors_can_take_turns(
    compiled: Callable[..., Function], monkeypatch: pytest.MonkeyPatch, small: int
) -> None:
    monkeypatch.setattr("dqn_cli.compiling.call_inputs.SMALL", small)
    run, plain = compiled(fixed()), partial(mixed, *fixed())
    for seed, as_array in enumerate((True, False, True, True, False)):
        pair, scale = changing(seed)
        given = Pair(pair.left.numpy() if as_array else pair.left, pair.right)
        for mine, yours in zip(run(given, scale), plain(pair, scale), strict=True):
            close(mine, yours)


@pytest.mark.parametrize("small", [0, 2**16])
def test_arrays_of_other_types_than_the_first_are_right(
    compiled: Callable[..., Function], monkeypatch: pytest.MonkeyPatch, small: int
) -> None:
    def on_arrays(total: Tensor, weights: Any, pair: Pair, scale: Any) -> tuple[Tensor, Tensor]:
        return mixed(total, weights, pair, torch.as_tensor(scale))

    monkeypatch.setattr("dqn_cli.compiling.call_inputs.SMALL", small)
    run, plain = compiled(fixed(), on_arrays), partial(mixed, *fixed())
    for seed, (dtype, rows) in enumerate((("f8", 4), ("f4", 4), ("f8", 2), ("f8", 4))):
        pair, scale = changing(seed, rows)
        array = scale.numpy().astype(dtype)
        expected = plain(pair, torch.from_numpy(array))
        for mine, yours in zip(run(pair, array), expected, strict=True):
            close(mine, yours)


def strided(tensor: Tensor) -> Tensor:
    """The same values, not one after the other in memory."""
    wide = torch.zeros(*tensor.shape[:-1], tensor.shape[-1] * 2, dtype=tensor.dtype)
    wide[..., ::2] = tensor
    return wide[..., ::2]


def turned(tensor: Tensor) -> Tensor:
    return tensor.T.contiguous().T


@pytest.mark.parametrize("first", [False, True])
def test_inputs_need_not_be_contiguous(compiled: Callable[..., Function], first: bool) -> None:
    run, plain = compiled(fixed()), partial(mixed, *fixed())
    if not first:
        run(*changing(0)), plain(*changing(0))
    pair, scale = changing(1)
    scattered = Pair(turned(pair.left), strided(pair.right))
    assert not any(tensor.is_contiguous() for tensor in scattered)
    for mine, yours in zip(run(scattered, strided(scale)), plain(pair, scale), strict=True):
        close(mine, yours)


def test_fixed_tensors_that_are_scattered_are_refused() -> None:
    scattered = fixed()._replace(total=strided(torch.ones(3, dtype=DOUBLE)))
    with pytest.raises(AssertionError, match="fixed tensors are contiguous"):
        AheadOfTime()(mixed, scattered)


def test_a_second_compiler_loads_what_the_first_one_made(
    mixed_package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cant_compile(monkeypatch, AssertionError("compiled again"))
    before, said = sorted(cache_folder().iterdir()), list[str]()
    compiler = AheadOfTime(said.append)
    compiler(mixed, fixed())(*changing(0))
    assert compiler.works
    assert not said
    assert sorted(cache_folder().iterdir()) == before


def test_python_runs_once_to_be_traced_and_again_for_other_shapes(
    compiled: Callable[..., Function],
) -> None:
    ran = []

    def counted(*inputs: Any) -> Any:
        ran.append(len(inputs))
        return mixed(*inputs)

    run, plain = compiled(fixed(), counted), partial(mixed, *fixed())
    # 7, 1 and 0 rows are not what it was compiled for.
    for rows, python in ((4, 1), (4, 1), (7, 2), (4, 2), (1, 3), (0, 4), (4, 4)):
        result, expected = run(*changing(rows, rows)), plain(*changing(rows, rows))
        assert len(ran) == python
        for mine, yours in zip(result, expected, strict=True):
            close(mine, yours)


def test_other_types_than_the_first_are_right(compiled: Callable[..., Function]) -> None:
    run, plain = compiled(fixed()), partial(mixed, *fixed())
    run(*changing(0)), plain(*changing(0))
    pair, scale = changing(1)
    for mine, yours in zip(run(pair, scale.float()), plain(pair, scale.float()), strict=True):
        close(mine, yours)


def packaged(function: Function, *inputs: Tensor) -> None:
    compiler = AheadOfTime(no_warning)
    compiler(function, ())(*inputs)


def times(constant: Any) -> Function:
    return lambda x: (x * constant,)


def times_tensor(values: Any, dtype: torch.dtype = torch.float32) -> Function:
    return lambda x: (x * torch.tensor(values, dtype=dtype),)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (times(2.0), times(3.0)),
        (times(1.0), times(1.0 + 2**-52)),
        (times(2.0), lambda x: (x * 2.0 + 1,)),
        (lambda x: (x.sum(0),), lambda x: (x.sum(1),)),
        (lambda x: (x, x * 2), lambda x: (x * 2, x)),
        (times_tensor([1.0, 2.0]), times_tensor([1.0, 3.0])),
        (times_tensor([[1.0], [2.0]]), times_tensor([[1.0, 2.0]])),
        (times_tensor(0, torch.int32), times_tensor(0.0)),
    ],
)
def test_other_mathematics_has_a_package_of_its_own(
    pretended: Path, one: Function, other: Function
) -> None:
    packaged(one, torch.ones(2, 2))
    packaged(one, torch.ones(2, 2))
    assert len(list(pretended.iterdir())) == 1
    packaged(other, torch.ones(2, 2))
    assert len(list(pretended.iterdir())) == 2


def test_each_shape_type_and_number_of_threads_has_a_package_of_its_own(pretended: Path) -> None:
    inputs = (torch.ones(2), torch.ones(3), torch.ones(2, 1), torch.ones(2, dtype=DOUBLE))
    for each in inputs:
        packaged(times(2.0), each)
    torch.set_num_threads(2)
    packaged(times(2.0), torch.ones(2))
    assert len(list(pretended.iterdir())) == len(inputs) + 1


def test_machines_of_other_instructions_have_packages_of_their_own(
    pretended: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for instructions in (["avx2"], ["avx2", "avx512_f"], ["avx2"]):
        monkeypatch.setattr("dqn_cli.compiling.cache_keys.INSTRUCTIONS", instructions)
        packaged(times(2.0), torch.ones(2))
    assert len(list(pretended.iterdir())) == 2


def test_other_values_have_the_same_package(pretended: Path) -> None:
    for inputs in (torch.zeros(2, 2), torch.full((2, 2), 9.0), torch.arange(4.0).view(2, 2).T):
        packaged(times(2.0), inputs)
        packaged(lambda y: (torch.mul(y, 2.0),), inputs)
    assert [package.suffix for package in pretended.iterdir()] == [".pt2"]


def test_where_nothing_compiles_the_plain_functions_run_and_each_is_reported_once(
    nothing_compiles: Path,
) -> None:
    said: list[str] = []
    compiler = AheadOfTime(said.append)
    assert compiler.works
    runs = [compiler(mixed, fixed()), compiler(mixed, fixed())]
    plain = partial(mixed, *fixed())
    for seed in range(3):
        expected = plain(*changing(seed))
        for run in runs:
            assert all(map(torch.equal, run(*changing(seed)), expected))
            assert not compiler.works
    assert said == [ANNOUNCEMENT] + ["warning: not compiled, so the run is slower: no compiler"] * 2
    assert not list(nothing_compiles.iterdir())


def test_an_error_without_words_is_named(
    empty_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    cant_compile(monkeypatch, NotImplementedError())
    AheadOfTime(said.append)(times(2.0), ())(torch.ones(2))
    assert said[0] == ANNOUNCEMENT
    assert len(said) == 2
    assert said[1].endswith(": NotImplementedError")


def test_a_function_that_depends_on_values_is_not_compiled(pretended: Path) -> None:
    said: list[str] = []
    compiler = AheadOfTime(said.append)
    run = compiler(lambda x: (x * 2 if x.sum() > 0 else x,), ())
    assert run(torch.ones(2))[0].tolist() == [2, 2]
    assert run(-torch.ones(2))[0].tolist() == [-1, -1]
    assert len(said) == 1
    assert "\n" not in said[0]
    assert not compiler.works


def test_a_damaged_package_is_made_again(
    empty_cache: Path, mixed_package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    damaged = empty_cache / mixed_package.name
    damaged.write_bytes(mixed_package.read_bytes()[:1000])

    def make(program: Any, package_path: str, **options: Any) -> None:
        shutil.copy(mixed_package, package_path)

    monkeypatch.setattr("torch._inductor.aoti_compile_and_package", make)
    run = AheadOfTime(no_warning)(mixed, fixed())
    for mine, yours in zip(run(*changing(0)), partial(mixed, *fixed())(*changing(0)), strict=True):
        close(mine, yours)
    assert damaged.read_bytes() == mixed_package.read_bytes()


def test_packages_that_can_only_be_damaged_are_not_run(
    pretended: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(package: Path) -> Any:
        raise RuntimeError("damaged")

    load_with(monkeypatch, load)
    said: list[str] = []
    assert AheadOfTime(said.append)(times(2.0), ())(torch.ones(2))[0].tolist() == [2, 2]
    assert said == [ANNOUNCEMENT, "warning: not compiled, so the run is slower: damaged"]


def test_the_public_loader_serves_where_the_inner_one_is_gone(
    mixed_package: Path, compiled: Callable[..., Function], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr("torch._C._aoti.AOTIModelPackageLoader")
    public = SimpleNamespace(loader=SimpleNamespace(run=lambda inputs: [inputs[0], inputs[1]]))
    monkeypatch.setattr("torch._inductor.aoti_load_package", lambda path: public)
    mine = fixed()
    assert compiled(mine)(*changing(0))[0] is mine.total


def test_a_function_of_fixed_tensors_alone_is_packaged_once(nothing_compiles: Path) -> None:
    said: list[str] = []
    run = AheadOfTime(said.append)(times(2.0), (torch.ones(2),))
    assert run()[0].tolist() == run()[0].tolist() == [2, 2]
    assert len(said) == 2


@pytest.mark.parametrize("fails", [False, True])
def test_the_run_waits_exactly_while_a_function_is_compiled(
    pretended: Path, monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    events: list[str] = []

    @contextmanager
    def waiting() -> Iterator[None]:
        events.append("begin")
        try:
            yield
        finally:
            events.append("end")

    def load(package: Path) -> Any:
        events.append("load")
        if fails:
            raise RuntimeError("broken")
        return lambda inputs: events.append("run")

    def function(x: Tensor) -> tuple[Tensor]:
        events.append("python")
        return (x * 2,)

    load_with(monkeypatch, load)
    run = AheadOfTime(lambda line: None, waiting)(function, ())
    assert not events
    run(torch.ones(2))
    assert events == ["begin", "python", "load", "end", "python" if fails else "run"]
    events.clear()
    run(torch.ones(2)), run(torch.ones(3))
    assert events == ["python" if fails else "run", "python"]


def test_loading_touches_a_package_and_leaves_no_unpacked_files(
    compiled: Callable[..., Function],
    mixed_package: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", "as it was")
    os.utime(mixed_package, times=(0, 0))
    compiled(fixed())(*changing(0))
    assert mixed_package.stat().st_mtime > time.time() - 60
    assert not list(tmp_path.iterdir())
    assert os.environ["TMPDIR"] == "as it was"


def cant_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: Any, **options: Any) -> None:
        raise AssertionError("traced again")

    monkeypatch.setattr("torch.fx.experimental.proxy_tensor.make_fx", fail)


SOURCE_IS_KNOWN = "dqn_cli.compiling.compiler.source_is_known"


def test_code_of_a_known_structure_is_found_without_a_trace(
    pretended: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SOURCE_IS_KNOWN, lambda: True)  # other tests may import modules late
    AheadOfTime(no_warning)(times(2.0), (), "structure")(torch.ones(2))
    assert {path.suffix for path in pretended.iterdir()} == {".pt2", ".key"}
    cant_trace(monkeypatch)
    assert AheadOfTime(pytest.fail)(times(2.0), (), "structure")(torch.ones(2)) == []
    others: list[tuple[Function, str | None]] = [
        (times(2.0), "other"),
        (times(2.0), None),
        (times_tensor(2.0), "structure"),  # another function
    ]
    for function, structure in others:
        said: list[str] = []
        AheadOfTime(said.append)(function, (), structure)(torch.ones(2))
        assert said == ["warning: not compiled, so the run is slower: traced again"]


def test_with_source_that_has_changed_since_code_is_neither_found_nor_linked(
    pretended: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SOURCE_IS_KNOWN, lambda: True)
    AheadOfTime(no_warning)(times(2.0), (), "structure")(torch.ones(2))
    (link,) = pretended.glob("*.key")
    monkeypatch.setattr(SOURCE_IS_KNOWN, lambda: False)
    with monkeypatch.context() as patch:
        cant_trace(patch)
        said: list[str] = []
        AheadOfTime(said.append)(times(2.0), (), "structure")(torch.ones(2))
        assert said == ["warning: not compiled, so the run is slower: traced again"]
    link.unlink()
    AheadOfTime(no_warning)(times(2.0), (), "structure")(torch.ones(2))
    assert list(pretended.glob("*.key")) == []


class Recorded(Background):
    """Processes that are only written down; each makes its package when it is waited for."""

    def __init__(self, fails: bool = False) -> None:
        super().__init__()
        self.events: list[str] = []
        self._keys, self._fails = dict[str, str](), fails

    def start(self, name: str, program: Any, key: str) -> None:
        assert not (cache_folder() / f"{key}.pt2").exists()
        self.events.append("start")
        self._keys[name] = key

    def wait(self, name: str) -> None:
        if name in self._keys:
            self.events.append("wait")
            if not self._fails:
                (cache_folder() / f"{self._keys.pop(name)}.pt2").write_bytes(b"")

    def stop(self) -> None:
        self.events.append("stop")


def expecting(background: Background, *factors: float) -> list[Function]:
    """Functions that are expected to be called with three numbers."""
    compiler = AheadOfTime(no_warning, background=background)
    example = lambda: (torch.zeros(3),)  # noqa: E731
    return [compiler(times(factor), (), f"times {factor}", example) for factor in factors]


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SOURCE_IS_KNOWN, lambda: True)  # other tests may import modules late


@pytest.mark.usefixtures("known")
def test_while_a_function_is_compiled_the_background_compiles_those_that_are_expected(
    pretended: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    background = Recorded()
    first, second, third = expecting(background, 2.0, 3.0, 4.0)
    assert not background.events
    first(torch.ones(3))
    assert background.events == ["start", "start"]
    cant_compile(monkeypatch, AssertionError("compiled again"))
    cant_trace(monkeypatch)
    second(torch.ones(3)), third(torch.ones(3)), second(torch.ones(3))
    assert background.events == ["start", "start", "wait", "wait"]
    assert len(list(pretended.glob("*.pt2"))) == 3


@pytest.mark.usefixtures("known")
def test_nothing_is_compiled_in_the_background_that_is_in_the_cache_or_was_called(
    pretended: Path,
) -> None:
    for each in expecting(Recorded(), 2.0, 3.0):
        each(torch.ones(3))
    background = Recorded()
    first, second, other = expecting(background, 3.0, 2.0, 5.0)
    second(torch.ones(3)), first(torch.ones(3))
    other(torch.ones(3))
    assert not background.events


@pytest.mark.usefixtures("known")
def test_the_background_does_not_compile_what_it_cannot_know(pretended: Path) -> None:
    background = Recorded()
    compiler = AheadOfTime(no_warning, background=background)

    def fails() -> tuple[Tensor]:
        raise RuntimeError("no example")

    compiler(times(3.0), (), None, lambda: (torch.zeros(3),))
    compiler(times(4.0), (), "times 4", None)
    compiler(times(5.0), (), "times 5", lambda: None)
    compiler(times(6.0), (), "times 6", fails)
    compiler(times(2.0), (), "times 2")(torch.ones(3))
    assert not background.events


@pytest.mark.usefixtures("known")
@pytest.mark.parametrize(("rows", "fails"), [(4, False), (3, True)])
def test_a_function_that_the_background_does_not_provide_is_compiled_where_it_is_called(
    pretended: Path, rows: int, fails: bool
) -> None:
    first, second = expecting(Recorded(fails), 2.0, 3.0)
    first(torch.ones(3))
    assert len(list(pretended.glob("*.pt2"))) == 1
    second(torch.ones(rows))
    assert len(list(pretended.glob("*.pt2"))) == 2


@pytest.mark.usefixtures("pretended", "known")
def test_closing_a_compiler_stops_the_background() -> None:
    background = Recorded()
    AheadOfTime(background=background).close()
    AheadOfTime().close()
    assert background.events == ["stop"]


@pytest.mark.usefixtures("nothing_compiles", "known")
def test_where_nothing_compiles_the_background_is_stopped() -> None:
    background = Recorded()
    compiler = AheadOfTime(lambda line: None, background=background)
    compiler(times(3.0), (), "times 3", lambda: (torch.zeros(3),))
    compiler(times(2.0), (), "times 2")(torch.ones(3))
    assert background.events == ["start", "stop"]
