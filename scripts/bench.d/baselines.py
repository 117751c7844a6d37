"""What others do, and what one would write first: the paths that ours is compared with.

Both baselines end with the same numbers as ours: they measure the same features, by the plain definitions in numpy
that the compiled kernels are held against, and ask the same trees, rebuilt as a scikit-learn forest. The columns of
the candidate that features need (magnitudes, distances: some twenty numbers) are handed to them free of charge, which
favours them.
"""

from __future__ import annotations

import gzip
import io
import re
import warnings
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import fastavro
import numpy as np
from astropy.io import fits
from corpus import Corpus
from measure import Timed
from numpy.typing import NDArray
from photutils.aperture import CircularAperture, aperture_photometry
from sklearn.ensemble import RandomForestClassifier
from sklearn.tree import DecisionTreeClassifier
from sklearn.tree._tree import NODE_DTYPE, Tree

from realbogus.alerts import CENTRE, DIFFERENCE, AlertBatch, Triplets
from realbogus.features import extract
from realbogus.forest import Forest
from realbogus.model import Model

STAMPS = ("cutoutScience", "cutoutTemplate", "cutoutDifference")
SYNC_BYTES = 16  # of an Avro container
HEADER_BYTES = 2880  # of FITS; the stamps of ZTF have one block
AXIS = re.compile(rb"NAXIS([12]) *= *(\d+)")
APERTURES_PX = (2.0, 4.0, 7.0)
BATCH = 128  # rows that `competent` gives to scikit-learn at once
NONSENSE = 1e30  # some templates hold -3.4e38


@dataclass
class Naive:
    """Library calls throughout, one alert at a time: a first version as most of us would write it.

    fastavro.reader parses the packet and, each time anew, its schema; gzip and astropy open the three stamps; photutils
    measures apertures on the difference; the plain features follow; scikit-learn scores the one row.
    """

    corpus: Corpus
    model: Model

    def __post_init__(self) -> None:
        self.forest = Rebuilt(self.model.forest)

    def score(self, rows: Sequence[int]) -> NDArray[np.float64]:
        return np.array([self.one(row) for row in rows])

    def one(self, row: int) -> float:
        record = next(fastavro.reader(io.BytesIO(self.corpus.messages[row])))
        images = [self.image(record[stamp]["stampData"]) for stamp in STAMPS]
        triplet = triplet_of(images)
        difference = np.nan_to_num(triplet[0, DIFFERENCE])
        aperture_photometry(difference, [CircularAperture((CENTRE, CENTRE), radius) for radius in APERTURES_PX])
        features = extract(alerts_of(self.corpus.alerts, [row], triplet), self.model.feature_names, compiled=False)
        return float(self.forest.score(features)[0])

    @staticmethod
    def image(stamp: bytes) -> NDArray[np.float32]:
        with (
            warnings.catch_warnings(action="ignore"),  # some early stamps have a SIMPLE card of another width
            gzip.open(io.BytesIO(stamp)) as inflated,
            fits.open(io.BytesIO(inflated.read())) as units,
        ):
            return np.asarray(units[0].data, np.float32)


@dataclass
class Competent:
    """What a careful engineer writes in Python: each thing done once, nothing compiled.

    The parsed schema is kept and the record read by fastavro.schemaless_reader (compiled C, the whole record); zlib and
    a direct look at the FITS header give the stamps; the features run in numpy, alert by alert; scikit-learn scores
    128 rows at once on one core.

    The features are our plain definitions, which are written to be read and to run over batches: one alert at a time
    they cost several times what code tuned for one alert would. So there is a stricter form of this baseline,
    `together=64`: the same definitions over 64 alerts at once, about as fast as numpy gets. Both are told; where one
    number must stand for all, the stricter one flatters nobody.
    """

    corpus: Corpus
    model: Model
    together: int = 1  # alerts whose features are measured in one call

    def __post_init__(self) -> None:
        self.forest = Rebuilt(self.model.forest)
        self.schemas: dict[bytes, Any] = {}

    def score(self, rows: Sequence[int]) -> NDArray[np.float64]:
        scores = []
        for start in range(0, len(rows), BATCH):
            chunk = rows[start : start + BATCH]
            features = [self.features(chunk[at : at + self.together]) for at in range(0, len(chunk), self.together)]
            scores.append(self.forest.score(np.concatenate(features)))
        return np.concatenate(scores)

    def stages(self) -> dict[str, Timed]:
        """Its stages under the names that ours have, each on what the stages before it made."""
        rows = range(BATCH)
        records = [self.decode(self.corpus.messages[row]) for row in rows]
        triplets = np.concatenate([self.stamps(record) for record in records])
        parts = [rows[start : start + self.together] for start in range(0, BATCH, self.together)]
        alerts = [alerts_of(self.corpus.alerts, part, triplets[part]) for part in parts]
        X = np.concatenate([self.measure(part) for part in alerts])
        return {
            "decode": Timed(lambda: [self.decode(self.corpus.messages[row]) for row in rows], BATCH),
            "columns and stamps": Timed(lambda: [self.stamps(record) for record in records], BATCH),
            "features": Timed(lambda: [self.measure(part) for part in alerts], BATCH),
            "forest": Timed(lambda: self.forest.score(X), BATCH),
        }

    def measure(self, alerts: AlertBatch) -> NDArray[np.float32]:
        return extract(alerts, self.model.feature_names, compiled=False)

    def features(self, rows: Sequence[int]) -> NDArray[np.float32]:
        triplets = np.concatenate([self.triplet(row) for row in rows])
        return self.measure(alerts_of(self.corpus.alerts, rows, triplets))

    def triplet(self, row: int) -> Triplets:
        return self.stamps(self.decode(self.corpus.messages[row]))

    def stamps(self, record: Any) -> Triplets:
        images = [self.image(record[stamp]["stampData"]) for stamp in STAMPS]
        return triplet_of(images)

    def decode(self, message: bytes) -> Any:
        """The record, read with the schema of its header, which is parsed once and known again by its bytes."""
        start = message.index(message[-SYNC_BYTES:]) + SYNC_BYTES  # the sync marker ends the header and the file
        head = message[: start - SYNC_BYTES]
        schema = self.schemas.get(head)
        if schema is None:
            schema = self.schemas[head] = fastavro.parse_schema(fastavro.reader(io.BytesIO(message)).writer_schema)
        stream = io.BytesIO(message)
        stream.seek(after_long(message, after_long(message, start)))
        return fastavro.schemaless_reader(stream, schema, None)

    @staticmethod
    def image(stamp: bytes) -> NDArray[np.float32]:
        raw = zlib.decompress(stamp, 31)
        axes = dict(AXIS.findall(raw[:HEADER_BYTES]))
        width, height = int(axes[b"1"]), int(axes[b"2"])
        return np.frombuffer(raw, ">f4", width * height, HEADER_BYTES).astype(np.float32).reshape(height, width)


def after_long(message: bytes, at: int) -> int:
    """Where the Avro long that begins here ends."""
    while message[at] & 0x80:
        at += 1
    return at + 1


def triplet_of(images: Sequence[NDArray[np.float32]]) -> Triplets:
    """(1, 3, 63, 63): full stamps need no placing, and ZTF's differences come turned. Nonsense is missing."""
    triplet = np.stack(images)[None]
    triplet[~(np.abs(triplet) < NONSENSE)] = np.nan
    return triplet


def alerts_of(alerts: AlertBatch, rows: Sequence[int], triplets: Triplets) -> AlertBatch:
    """Some alerts, with the columns that our decoder read and the triplets that the baseline read."""
    pick = np.asarray(rows)
    return replace(
        alerts,
        index=alerts.index[pick],
        candid=alerts.candid[pick],
        object_id=[alerts.object_id[row] for row in rows],
        band=[alerts.band[row] for row in rows],
        schema=[alerts.schema[row] for row in rows],
        columns={name: column[pick] for name, column in alerts.columns.items()},
        triplets=triplets,
    )


class Rebuilt:
    """The same trees as scikit-learn's own, walked by its compiled code with one job: bit for bit the same scores."""

    def __init__(self, forest: Forest) -> None:
        self.voting, self.boosting = sklearn_forest(forest), forest.boosting
        classes = forest.value.shape[1]
        self.adding = [sklearn_tree(forest, tree, classes).tree_ for tree in range(forest.votes, forest.trees)]

    def score(self, X: NDArray[np.float32]) -> NDArray[np.float64]:
        mean = np.asarray(self.voting.predict_proba(X)[:, -1])
        if not self.adding:
            return mean
        added = np.full(len(X), self.boosting.start)
        for tree in self.adding:
            added += tree.predict(X)[:, -1]
        return np.clip((1 - self.boosting.share) * mean + added, 0.0, 1.0)


def sklearn_forest(forest: Forest) -> RandomForestClassifier:
    """The trees that vote as a scikit-learn forest with one job."""
    classes = forest.value.shape[1]
    fitted = RandomForestClassifier(n_estimators=forest.votes, n_jobs=1)
    fitted.estimators_ = [sklearn_tree(forest, tree, classes) for tree in range(forest.votes)]
    fitted.estimator_ = DecisionTreeClassifier()
    fitted.classes_, fitted.n_classes_ = np.arange(classes), classes
    fitted.n_features_in_, fitted.n_outputs_ = forest.n_features, 1
    return fitted


def sklearn_tree(forest: Forest, number: int, classes: int) -> DecisionTreeClassifier:
    nodes = slice(forest.offset[number], forest.offset[number + 1])
    table = np.zeros(forest.offset[number + 1] - forest.offset[number], NODE_DTYPE)
    for ours, theirs in (("left", "left_child"), ("right", "right_child"), ("feature", "feature")):
        table[theirs] = getattr(forest, ours)[nodes]
    table["threshold"], table["missing_go_to_left"] = forest.threshold[nodes], forest.missing_left[nodes]
    table["n_node_samples"] = table["weighted_n_node_samples"] = forest.count[nodes]
    tree = Tree(forest.n_features, np.array([classes], np.intp), 1)
    values = np.ascontiguousarray(forest.value[nodes][:, None, :])
    depth = int(forest.depth[number])
    tree.__setstate__({"max_depth": depth, "node_count": len(table), "nodes": table, "values": values})
    grown = DecisionTreeClassifier()
    grown.tree_, grown.n_features_in_, grown.n_outputs_ = tree, forest.n_features, 1
    grown.classes_, grown.n_classes_ = np.arange(classes), np.intp(classes)
    return grown
