"""Which of many photos a process stylizes: a shard of them, and what has no result yet."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from fst.errors import FstError
from fst.inference.photo_jobs import RESULT_SUFFIXES, Job, file_identities, identity


class Shard(NamedTuple):
    """The ``number``-th of so many ``shards`` of a row of photos, from 1: one for each process."""

    number: int
    shards: int

    def of(self, jobs: Sequence[Job]) -> list[Job]:
        """Every so many-th of the jobs, in the order of their photos' paths.

        Where all processes see the same photos, each photo is in exactly one shard, in whatever
        order the photos were given.
        """
        ordered = sorted(jobs, key=lambda job: os.fsencode(job.photo))
        return ordered[self.number - 1 :: self.shards]


def parse_shard(words: str) -> Shard:
    """``I/N``; ``FstError`` unless 1 <= I <= N."""
    found = re.fullmatch(r"(\d{1,9})/(\d{1,9})", words, re.ASCII)
    shard = Shard(*map(int, found.groups())) if found else Shard(0, 0)
    if not 1 <= shard.number <= shard.shards:
        raise FstError(f"--shard {words} is not I/N with I in 1 .. N, such as 2/8")
    return shard


def without_results(jobs: Sequence[Job], among: Sequence[Job]) -> list[Job]:
    """Those of ``jobs`` that have no result yet; no photo is opened for it.

    A result appears whole or not at all, so a file of its name is one: where the suffix depends on
    the photo, with either suffix. A file that is itself one of the photos, of the jobs ``among``
    which these were chosen, is no result.
    """
    photos = file_identities(among)

    def is_missing(job: Job) -> bool:
        return not any(
            os.path.isfile(target) and identity(target) not in photos for target in _targets(job)
        )

    return [job for job in jobs if is_missing(job)]


def _targets(job: Job) -> list[Path]:
    if job.suffix_given:
        return [job.target]
    return [job.target.with_name(job.target.name + suffix) for suffix in RESULT_SUFFIXES]
