"""Our own path in memory: the whole of it, and each stage alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import deflate
import numpy as np
from corpus import LIMITS, STORE, WANTED, Corpus
from measure import Timed
from numpy.typing import NDArray

from realbogus import __version__, features, packets
from realbogus.alerts import ScoredBatch
from realbogus.model import Model
from realbogus.packets import annotation
from realbogus.policy import Policy
from realbogus.scoring import Scorer, score_batch
from realbogus.surveys import SURVEYS, recognise
from realbogus.voevent.build import build
from realbogus.voevent.style import EventStyle

BATCH = 256  # alerts; the default of the worker
STYLE = EventStyle(authority="org.example.bench")
INFLATED_BYTES = 24 * 1024  # a gzipped stamp of 63 x 63 float32 holds 20 160 bytes


@dataclass
class Ours:
    """Our path from bytes to annotations and events, without a broker."""

    corpus: Corpus
    model: Model

    def __post_init__(self) -> None:
        features.warm_up()
        self.model.warm_up()
        self.policy = Policy()
        self.scorer = Scorer(models={"ztf": self.model}, policy=self.policy, limits=LIMITS, store=STORE)
        self.batches = [slice(start, start + BATCH) for start in range(0, len(self.corpus), BATCH)]

    def score(self) -> NDArray[np.float64]:
        """The scores of the corpus, rounded as they are told."""
        return np.concatenate([batch.score for part in self.parts() for batch in self.scorer.outcomes(part)])

    def parts(self) -> list[list[bytes]]:
        return [list(self.corpus.messages[batch]) for batch in self.batches]

    def whole(self) -> list[bytes]:
        """Everything that the worker does with a message but Kafka."""
        out: list[bytes] = []
        for part in self.parts():
            for scored in self.scorer.outcomes(part):
                out += annotation.encode(scored, __version__)
                out += [build(scored, int(row), STYLE).xml for row in np.flatnonzero(scored.forward)]
        return out

    def stages(self) -> dict[str, Timed]:
        """Each stage alone, on what the stages before it made."""
        parts = self.parts()
        decoded = [self.decode(part) for part in parts]
        alerts = [SURVEYS["ztf"].to_batch(part, LIMITS)[0] for part in decoded]
        matrices = [features.extract(part, self.model.feature_names) for part in alerts]
        scored = [score_batch(part, self.model, self.policy) for part in alerts]
        each: dict[str, Callable[[], object]] = {
            "decode": partial(list_of, self.decode, parts),
            "columns and stamps": partial(list_of, lambda part: SURVEYS["ztf"].to_batch(part, LIMITS), decoded),
            "features": partial(list_of, lambda part: features.extract(part, self.model.feature_names), alerts),
            "forest": partial(list_of, lambda X: self.model.p_real(self.model.score(X)), matrices),
            "contributions of the forwarded 3 %": partial(list_of, self.explain, scored),
            "annotation": partial(list_of, lambda part: annotation.encode(part, __version__), scored),
            "VOEvents of the forwarded 3 %": partial(list_of, self.tell, scored),
        }
        return {name: Timed(work, len(self.corpus)) for name, work in each.items()}

    def decode(self, messages: list[bytes]) -> packets.Decoded:
        return packets.read(messages, wanted=WANTED, recognise=recognise, store=STORE, limits=LIMITS)[0][0]

    def explain(self, scored: ScoredBatch) -> object:
        return self.model.contributions(scored.features[scored.forward])

    def tell(self, scored: ScoredBatch) -> object:
        return [build(scored, int(row), STYLE) for row in np.flatnonzero(scored.forward)]


def list_of(work: Callable[..., object], parts: list) -> list[object]:
    return [work(part) for part in parts]


@dataclass
class Inflate:
    """The floor's part in memory: libdeflate on the three stamps, checksum included, and nothing else."""

    corpus: Corpus

    def __post_init__(self) -> None:
        self.stamps = [
            message[offset : offset + length]
            for row, message in enumerate(self.corpus.messages)
            for offset, length in self.corpus.spans(row)
        ]

    def whole(self) -> int:
        return sum(len(deflate.gzip_decompress(stamp, INFLATED_BYTES)) for stamp in self.stamps)
