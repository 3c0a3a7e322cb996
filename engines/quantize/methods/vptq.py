"""VPTQ: vectors of outputs become indices into codebooks, column after column as in GPTQ.

Liu et al., "VPTQ: Extreme Low-bit Vector Post-Training Quantization for Large Language Models"
(EMNLP 2024): codebooks by k-means weighed by the Hessian, channel-independent second-order
rounding, residual and outlier codebooks. Two things are ours: rows are scaled as well as columns,
and the centroids are fine-tuned layer by layer, as with the indices fixed the output's squared
error is a quadratic form of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from engines.quantize.block import Block
from engines.quantize.layers import Grid, QuantizedLayer
from engines.quantize.method import NoGradients, Uses
from engines.quantize.methods.centroids import refine
from engines.quantize.methods.curvature import Curvature, curvatures
from engines.quantize.methods.gptq import gptq
from engines.quantize.methods.kmeans import fit, half_norms, nearest
from engines.quantize.vector import Books, Vector

_LONGEST = 8  # outputs in a vector
_LEAST_SCALE = 2.0**-24  # the smallest float16 above 0
_BOOK_BITS = 16  # of a number in a book
_SCALINGS = 3  # of rows and columns in turn, after which both are about even
_OUTLIER_BITS = 8  # log2 of the centroids of outliers' books


@dataclass(frozen=True)
class Vptq(NoGradients):
    """Vector quantization with codebooks of every layer's own.

    Attributes:
        index_bits: log2 of the most centroids of a book.
        book_share: bits that a layer's books may add to each of its weights; vectors are as long as
            that and `index_bits` allow.
        residual: two books, whose vectors are added up, share the bits of each vector.
        outlier_share: of columns, those with the largest inputs, that get a book of their own with
            twice the bits a weight.
        passes: times that indices are chosen, from the second on with refined books.
        steps: of conjugate gradients after each pass; 0 leaves the books as k-means made them.
        rounds: of k-means, at most.
        samples: vectors that k-means looks at, at most.
        seed: of what is drawn.
        damping: share of the mean of the Hessian's diagonal that is added to it.
    """

    name: ClassVar[str] = "vptq"
    uses: ClassVar[Uses] = "activations"

    index_bits: int = 12
    book_share: float = 0.15
    residual: bool = False
    outlier_share: float = 0.02
    passes: int = 1
    steps: int = 12
    rounds: int = 12
    samples: int = 1 << 16
    seed: int = 0
    damping: float = 0.01

    def quantize(self, block: Block, grids: Mapping[str, Grid]) -> dict[str, QuantizedLayer]:
        """See `engines.quantize.method.Method`; of the grids only the bits count."""
        made: dict[str, QuantizedLayer] = {}
        for path, curvature in curvatures(block, list(grids), damping=self.damping):
            block.progress(len(made) / len(grids), path)
            weight = block.weight(path)
            made[path] = self.layer(weight, grids[path].bits, curvature, block.check)
        return made

    def layer(
        self,
        weight: Tensor,
        bits: int,
        curvature: Curvature | None,
        check: Callable[[], None] = lambda: None,
    ) -> Vector:
        """One weight in vectors.

        Args:
            weight: (out, in) float32.
            bits: of the indices, a weight.
            curvature: of the layer's input; None counts all inputs alike.
            check: called several times a second.
        """
        known = curvature or _level(weight)
        work = _Rounding(weight, known, self._outliers(known.diagonal), check)
        length, widths = self._shape(bits, weight)
        few_length = max(1, _OUTLIER_BITS // (2 * bits))
        few_book = None
        if len(work.few):
            width = min(2 * bits * few_length, _OUTLIER_BITS)
            few_book = self._book(work.vectors(work.few, few_length), width, check)
        books = [self._book(work.vectors(work.rest, length), widths[0], check)]
        if len(widths) > 1:
            left = work.chosen(books, few_book).left.reshape(-1, length)
            books.append(self._book((left, work.weights(work.rest, length)), widths[1], check))
        found = work.chosen(books, few_book)
        for number in range(self.passes):
            if number:
                found = work.chosen(books, few_book)
            if self.steps:
                books = work.refined(books, found, self.steps)
        return work.made(books, few_book, found)

    def _shape(self, bits: int, weight: Tensor) -> tuple[int, tuple[int, ...]]:
        """Length of the vectors, and log2 of the centroids of each book."""
        for length in range(_LONGEST, 1, -1):
            whole = bits * length
            widths = (-(-whole // 2), whole // 2) if self.residual else (whole,)
            if widths[0] <= self.index_bits:
                held = sum(2**width for width in widths) * length * _BOOK_BITS
                if held <= self.book_share * weight.numel():
                    return length, widths
        return 1, (bits,)

    def _outliers(self, diagonal: Tensor) -> Tensor:
        """(n,) int64, rising."""
        count = round(self.outlier_share * len(diagonal))
        return diagonal.topk(count).indices.sort().values

    def _book(self, data: tuple[Tensor, Tensor], width: int, check: Callable[[], None]) -> Tensor:
        """(2^width, length) float32, as float16 has it, of (n, length) vectors and (n,) weights."""
        vectors, weights = data
        if len(vectors) > self.samples:
            generator = torch.Generator().manual_seed(self.seed)
            drawn = torch.randperm(len(vectors), generator=generator)[: self.samples]
            drawn = drawn.to(vectors.device)
            vectors, weights = vectors[drawn], weights[drawn]
        book = fit(vectors, weights, 2**width, rounds=self.rounds, seed=self.seed, check=check)
        return book.half().float()


@dataclass(frozen=True)
class _Chosen:
    """Indices of a pass.

    Attributes:
        indices: (columns, vectors) int64 for each book; columns that are no outliers.
        few: (outlier columns, vectors) int64.
        change: (in, out) float32: what they stand for less the weight, in units of the scales.
        left: (columns, outputs and padding) float32: what they missed of each column as it was.
    """

    indices: list[Tensor]
    few: Tensor
    change: Tensor
    left: Tensor


class _Rounding:
    """A weight on its way into vectors; `few` are its outlier columns, `rest` all others."""

    def __init__(
        self, weight: Tensor, curvature: Curvature, few: Tensor, check: Callable[[], None]
    ) -> None:
        self._weight, self._curvature, self._check = weight, curvature, check
        self._row, self._scale = _scales(weight)
        self.few = few
        kept = torch.ones(weight.shape[1], dtype=torch.bool, device=weight.device)
        kept[few] = False
        self.rest = kept.nonzero().squeeze(1)
        # What an error in a column costs once the columns behind it have made up for their part;
        # the diagonal of H itself, as in the paper, leaves some per cent more error.
        cost = torch.empty_like(curvature.diagonal)
        cost[curvature.order] = curvature.upper.diagonal() ** -2
        self._importance = cost * self._scale.float().square()

    def vectors(self, columns: Tensor, length: int) -> tuple[Tensor, Tensor]:
        """(n, length) vectors of some columns in units of the scales, and (n,) their weights."""
        scale = self._row.float().unsqueeze(1) * self._scale[columns].float()
        lines = nn.functional.pad(
            (self._weight[:, columns] / scale).T, (0, -len(self._row) % length)
        )
        return lines.reshape(-1, length), self.weights(columns, length)

    def weights(self, columns: Tensor, length: int) -> Tensor:
        """(n,): what the vectors of some columns count."""
        rows = self._counts(length).mean(1)
        return torch.outer(self._importance[columns], rows).flatten()

    def _counts(self, length: int) -> Tensor:
        """(vectors, length): what an error counts in each entry of a column's vectors."""
        counts = self._row.float().square()
        return nn.functional.pad(counts, (0, -len(counts) % length)).view(-1, length)

    def chosen(self, books: list[Tensor], few_book: Tensor | None) -> _Chosen:
        """Walk along the columns and take the nearest vectors, those of a residual last."""
        places = torch.zeros(self._weight.shape[1], dtype=torch.int64)
        for part in (self.rest, self.few):
            places[part] = torch.arange(len(part))
        place, scale, row = places.tolist(), self._scale.float().tolist(), self._row.float()
        outliers = set(self.few.tolist())
        main = _Nearest(books, self._counts(books[0].shape[1]))
        indices = [places.new_empty(len(self.rest), len(main.counts)) for _ in books]
        left = self._weight.new_empty(len(self.rest), main.counts.numel())
        special = None
        few = places.new_empty(0)
        if few_book is not None:
            special = _Nearest([few_book], self._counts(few_book.shape[1]))
            few = places.new_empty(len(self.few), len(special.counts))

        def round_column(number: int, column: Tensor) -> Tensor:
            target = column / row / scale[number]
            if special is not None and number in outliers:
                made, (few[place[number]],), _ = special.of(target)
            else:
                made, found, left[place[number]] = main.of(target)
                for index, chosen in zip(indices, found, strict=True):
                    index[place[number]] = chosen
            return made.mul_(row).mul_(scale[number])

        made = gptq(self._weight, self._curvature, round_column, self._check)
        change = ((made - self._weight) / row.unsqueeze(1) / self._scale.float()).T
        return _Chosen(indices, few, change, left)

    def refined(self, books: list[Tensor], found: _Chosen, steps: int) -> list[Tensor]:
        """The books of the columns that are no outliers, as float16 holds them."""
        hessian = _hessian(self._curvature) * torch.outer(self._scale, self._scale).float()
        pull = hessian[self.rest] @ found.change
        own = hessian[self.rest][:, self.rest]
        counts = self._row.float().square()
        moved = refine(books, found.indices, own, counts, pull, steps, self._check)
        return [book.half().float() for book in moved]

    def made(self, books: list[Tensor], few_book: Tensor | None, found: _Chosen) -> Vector:
        """The finished layer."""
        indices = tuple(index.T.contiguous().int() for index in found.indices)
        main = Books(tuple(book.half() for book in books), indices)
        if few_book is None:
            return Vector(main, self._scale, self._row)
        few = Books((few_book.half(),), (found.few.T.contiguous().int(),))
        return Vector(main, self._scale, self._row, few, self.few.int())


class _Nearest:
    """What stands for a column: the nearest vectors of a book, and of the next what is left.

    Attributes:
        counts: (vectors, length), what an error counts in each entry.
    """

    def __init__(self, books: list[Tensor], counts: Tensor) -> None:
        self.counts = counts
        self._books = [(book, half_norms(book, counts)) for book in books]

    def of(self, target: Tensor) -> tuple[Tensor, list[Tensor], Tensor]:
        """(out,) -> (out,) that stands for it, (vectors,) indices for each book, what is left."""
        rows, size = len(target), self.counts.shape[1]
        vectors = nn.functional.pad(target, (0, -rows % size)).view(-1, size)
        made, found = torch.zeros_like(vectors), []
        for book, half in self._books:
            found.append(nearest((vectors - made).mul_(self.counts), book, half))
            made += book[found[-1]]
        return made.flatten()[:rows], found, (vectors - made).flatten()


def _scales(weight: Tensor) -> tuple[Tensor, Tensor]:
    """(out,) and (in,) float16 such that rows and columns divided by them are about 1 in size."""
    row = weight.new_ones(len(weight))
    column = weight.new_ones(weight.shape[1])
    for _ in range(_SCALINGS):
        column = (weight / row.unsqueeze(1)).square_().mean(0).sqrt_().clamp_min_(_LEAST_SCALE)
        row = (weight / column).square_().mean(1).sqrt_().clamp_min_(_LEAST_SCALE)
    middle = float(row.log().mean().exp())  # both are of the size of a weight's root, or so
    return (row / middle).clamp_(_LEAST_SCALE, 1e4).half(), (column * middle).clamp_min_(
        _LEAST_SCALE
    ).half()


def _hessian(curvature: Curvature) -> Tensor:
    """(in, in) float32 with its damping, columns as they are in the weight."""
    identity = torch.eye(len(curvature.order), device=curvature.upper.device)
    root = torch.linalg.solve_triangular(curvature.upper, identity, upper=True)
    found = torch.empty_like(root)
    found[curvature.order.unsqueeze(1), curvature.order] = root @ root.T
    return found


def _level(weight: Tensor) -> Curvature:
    """Of a layer that nothing is known about: all inputs alike."""
    columns = weight.shape[1]
    return Curvature(
        torch.arange(columns, device=weight.device),
        torch.eye(columns, device=weight.device),
        weight.new_ones(columns),
    )
