"""What `scoreline score` is told beside what scores and from where to where: the job document that says the same."""

from __future__ import annotations

from dataclasses import dataclass, field

from scoreline.cli import options
from scoreline.types import JsonObject

STREAM = "-"


@dataclass(frozen=True, slots=True)
class ScoreWords:
    """The options as given, apart from what scores and from where to where."""

    passthrough: str | None = None
    passthrough_all: bool = False
    include_status: bool = False
    threshold: float | None = None
    probabilities: bool = True
    classes: str | None = None
    rename: list[str] = field(default_factory=list)
    drop: list[str] = field(default_factory=list)
    chunk_size: str | None = None
    concurrency: int | None = None
    delimiter: str | None = None
    quotechar: str | None = None
    encoding: str | None = None
    abort_on_error: bool = True

    def document(self) -> JsonObject:
        """Return the job document that says the same."""
        remap: list[dict[str, str | None]] = [
            {"inputName": old, "outputName": new} for old, new in options.pairs(self.rename, "--rename")
        ]
        remap += [{"inputName": name, "outputName": None} for name in self.drop]
        csv = {"delimiter": self.delimiter, "quotechar": self.quotechar, "encoding": self.encoding}
        document: JsonObject = {
            "passthroughColumns": None if self.passthrough_all else options.names(self.passthrough) or None,
            "passthroughColumnsSet": "all" if self.passthrough_all else None,
            "includePredictionStatus": self.include_status or None,
            "includeProbabilities": None if self.probabilities else False,
            "includeProbabilitiesClasses": options.names(self.classes) or None,
            "predictionThreshold": self.threshold,
            "columnNamesRemapping": remap or None,
            "chunkSize": self._chunk_size(),
            "numConcurrent": self.concurrency,
            "csvSettings": {name: value for name, value in csv.items() if value is not None} or None,
            "abortOnError": None if self.abort_on_error else False,
        }
        return {name: value for name, value in document.items() if value is not None}

    def _chunk_size(self) -> str | int | None:
        size = self.chunk_size
        return int(size) if size is not None and size.isascii() and size.isdigit() else size
