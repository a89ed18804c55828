"""Mixed batches: a share of each is read from logged data, the rest from the run's own replay."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from dqn_cli.agent.batch import Batch, Following, Sequences
from dqn_cli.agent.metrics import SampleErrors
from dqn_cli.arrays import Array, Values, array_namespace
from dqn_cli.replay.samplers import Draw, Replay, ReplayStorage, Sampler, Samples, Uniforms
from dqn_cli.replay.stream import Indices, Stream

LOGGED = "logged_"  # begins the names of the data's contents in a checkpoint


class Share(NamedTuple):
    """Part of each batch: the sampler that makes it, and its columns."""

    sampler: Sampler[Replay]
    storage: ReplayStorage
    columns: slice


class MixedSampler(Sampler[Replay]):
    """Composes the run's own sampler with one of the same kind over the stream of logged data.

    The last `logged_count` samples of each batch are logged ones. Each sampler keeps priorities of
    its own, and importance weights that correct its own choice.
    """

    def __init__(self, own: Sampler[Replay], logged: Sampler[Replay], logged_count: int) -> None:
        super().__init__(own.replay, own.stream, own.spec, own.gamma)
        self.own, self.logged, self.logged_count = own, logged, logged_count
        self._own_count = own.replay.batch_size - logged_count
        self.storage_is_fixed = own.storage_is_fixed and logged.storage_is_fixed

    def anneal(self, gamma: Sequence[float], n_step: Sequence[int]) -> None:
        """Set discount and number of rewards of the returns of both samplers."""
        self.own.anneal(gamma, n_step)
        self.logged.anneal(gamma, n_step)

    @property
    def storage(self) -> ReplayStorage:
        """Storage of both samplers."""
        return self.own.storage._replace(logged=self.logged.storage)

    def draw(self, uniforms: Uniforms, progress: Sequence[float]) -> Draw:
        """Draw a number for each sample, first those of the run's own."""
        draws = [
            share.sampler.draw(partial(_numbers, uniforms, _width(share)), progress)
            for share in self._shares(self.storage)
        ]
        return Draw(_joined([draw.numbers for draw in draws]), draws[0].progress)

    def sample(self, storage: ReplayStorage, draw: Draw) -> Samples:
        """Choose the samples of each part as its own sampler does."""
        samples = [
            share.sampler.sample(share.storage, draw._replace(numbers=_of(share, draw.numbers)))
            for share in self._shares(storage)
        ]
        return Samples(*map(_joined, zip(*samples, strict=True)))

    def batch(self, storage: ReplayStorage, samples: Samples) -> Batch | Sequences:
        """Build the batch of both parts, one after the other."""
        batches = [
            share.sampler.batch(share.storage, Samples(*(_of(share, x) for x in samples)))
            for share in self._shares(storage)
        ]
        joined = map(_joined, zip(*batches, strict=True))
        return Sequences(*joined) if isinstance(batches[0], Sequences) else Batch(*joined)

    def following(self, storage: ReplayStorage, samples: Samples) -> Following | tuple[()]:
        """Build what comes after the samples of both parts, one after the other."""
        if not self.spec.following:
            return ()
        parts = [
            share.sampler.following(share.storage, Samples(*(_of(share, x) for x in samples)))
            for share in self._shares(storage)
        ]
        return Following(*map(_joined, zip(*parts, strict=True)))

    def update_priorities(
        self, storage: ReplayStorage, samples: Samples, errors: SampleErrors
    ) -> None:
        """Give each sampler the errors of its own samples."""
        for share in self._shares(storage):
            of_samples = Samples(*(_of(share, x) for x in samples))
            of_errors = SampleErrors(*(_of(share, x) for x in errors))
            share.sampler.update_priorities(share.storage, of_samples, of_errors)

    @property
    def nbytes(self) -> int:
        """Memory beside the run's own stream: the data, and what both samplers keep."""
        return self.own.nbytes + self.logged.nbytes + self.logged.stream.nbytes

    def spread(self, count: int) -> tuple[Stream, Indices]:
        """Return places of logged transitions, far apart."""
        return self.logged.spread(count)

    def structure(self) -> list[Any]:
        """Return what both samplers depend on, and how a batch is shared between them."""
        name = type(self).__qualname__
        return [name, self.logged_count, *self.own.structure(), *self.logged.structure()]

    def contents(self, member: int) -> dict[str, Array]:
        """Return the state of both samplers; the data themselves are read from their file."""
        logged = self.logged.contents(member)
        named = {f"{LOGGED}{name}": values for name, values in logged.items()}
        return self.own.contents(member) | named

    def load(self, contents: Mapping[str, Array], member: int) -> None:
        """Restore the `contents` of a member of a sampler of the same shape."""
        own, logged = _split(contents)
        self.own.load(own, member)
        self.logged.load(logged, member)

    def find_problem(
        self, contents: Mapping[str, Array], stream: Mapping[str, Array]
    ) -> tuple[str, str] | None:
        """Return a field that does not fit the contents of its stream and why, or None."""
        own, logged = _split(contents)
        of_data = self.logged.stream.contents(0)  # all members have the same data
        return self.own.find_problem(own, stream) or self.logged.find_problem(logged, of_data)

    def _shares(self, storage: ReplayStorage) -> Iterator[Share]:
        """Yield the parts of a batch that are not empty."""
        assert storage.logged is not None
        if self._own_count:
            yield Share(self.own, storage, slice(0, self._own_count))
        yield Share(self.logged, storage.logged, slice(self._own_count, None))


def logged_samples(share: float, batch_size: int) -> int:
    """Return how many samples of a batch are logged ones.

    Raises:
        ValueError: There would be none.
    """
    count = round(share * batch_size)
    if count:
        return count
    raise ValueError(
        f"data.share={share:g} of a batch of {batch_size} is not one sample: use a larger"
        " data.share, or a larger replay.batch_size"
    )


def _numbers(uniforms: Uniforms, count: int, _: int) -> Array:
    """Draw numbers for one part of a batch; the size of the whole batch is ignored."""
    return uniforms(count)


def _width(share: Share) -> int:
    size = share.sampler.replay.batch_size
    return len(range(*share.columns.indices(size)))


def _of(share: Share, values: Values) -> Values:
    return values[:, share.columns]  # [members, part of the batch, ...]


def _joined(parts: Sequence[Values]) -> Values:
    """Join values [members, part of the batch, ...] of all parts."""
    return parts[0] if len(parts) == 1 else array_namespace(parts[0]).concatenate(parts, 1)


def _split(contents: Mapping[str, Array]) -> tuple[dict[str, Array], dict[str, Array]]:
    """Return the contents of the run's own sampler, and those of the data's."""
    own = {name: values for name, values in contents.items() if not name.startswith(LOGGED)}
    names = [name for name in contents if name.startswith(LOGGED)]
    return own, {name.removeprefix(LOGGED): contents[name] for name in names}
