from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import Tensor

from engines.base import Cancelled, UserError
from engines.quantize.kinds import layer_kind
from engines.quantize.layers import Grid
from engines.quantize.methods.centroids import refine
from engines.quantize.methods.curvature import Curvature, factor
from engines.quantize.methods.gptq import gptq_grouped
from engines.quantize.methods.kmeans import fit, nearest
from engines.quantize.methods.vptq import Vptq
from engines.quantize.vector import Books, Vector
from tests.engines.quantize.models import ARCHITECTURES, block, lone_block


def hessian_of(columns: int, tokens: int = 1024) -> Tensor:
    """Of inputs that hang together, a few of them much larger than the others."""
    x = torch.randn(tokens, columns) @ (torch.randn(columns, columns) / 6 + torch.eye(columns))
    x = x * torch.randn(columns).exp()
    return 2 / tokens * x.T @ x


def curvature_of(hessian: Tensor) -> Curvature:
    found = factor(hessian)
    assert found is not None
    return found


def proxy(made: Tensor, weight: Tensor, hessian: Tensor) -> float:
    change = made - weight
    return float(((change @ hessian) * change).sum() / ((weight @ hessian) * weight).sum())


def uneven(rows: int, columns: int) -> Tensor:
    return torch.randn(rows, columns) * torch.randn(rows, 1).mul(0.5).exp()


# k-means


def test_nearest_is_the_nearest() -> None:
    vectors, book = torch.randn(300, 3), torch.randn(32, 3)
    distances = torch.cdist(vectors, book)
    assert torch.equal(nearest(vectors, book), distances.argmin(1))


def test_distortion_never_rises() -> None:
    # Clusters far apart, and many more centroids than a lucky draw would hit: some begin empty.
    vectors = torch.randn(2000, 4) + 20 * torch.randint(-2, 3, (2000, 1))
    vectors[:500] = vectors[0]
    seen: list[float] = []
    fit(vectors, torch.rand(2000).exp(), 64, rounds=40, seed=0, report=seen.append)
    assert len(seen) > 4
    assert all(after <= before * (1 + 1e-6) for before, after in pairwise(seen))
    assert seen[-1] < 0.8 * seen[0]


def test_weights_count() -> None:
    vectors = torch.randn(4000, 4)
    vectors[:400] += 6
    weights = torch.where(torch.arange(4000) < 400, 50.0, 1.0)

    def distortion(book: Tensor) -> float:
        error = (vectors - book[nearest(vectors, book)]).square().sum(1)
        return float((error * weights).sum() / weights.sum())

    weighed, level = (
        distortion(fit(vectors, given, 32, rounds=30, seed=0))
        for given in (weights, torch.ones(4000))
    )
    assert weighed < 0.7 * level


def test_books_of_few_or_equal_vectors() -> None:
    three = torch.randn(3, 2)
    book = fit(three, torch.ones(3), 8, rounds=5, seed=0)
    assert book.shape == (8, 2)
    assert torch.equal(book[nearest(three, book)], three)
    zeros = fit(torch.zeros(50, 2), torch.zeros(50), 4, rounds=5, seed=0)
    assert torch.equal(zeros, torch.zeros(4, 2))


def test_the_seed_decides() -> None:
    vectors = torch.randn(500, 3)
    books = [fit(vectors, torch.ones(500), 16, rounds=5, seed=seed) for seed in (1, 1, 2)]
    assert torch.equal(books[0], books[1])
    assert not torch.equal(books[0], books[2])


# centroids


@pytest.mark.parametrize("count", [1, 2])
def test_refined_centroids_are_the_least_squares_solution(count: int) -> None:
    columns, rows, size = 12, 10, 4  # vectors of 3: the last is padded by two
    hessian = hessian_of(columns)
    wanted = torch.randn(columns, rows)
    books = [torch.randn(size, 3) for _ in range(count)]
    indices = [torch.randint(size, (columns, 4)) for _ in range(count)]

    def made(books: list[Tensor]) -> Tensor:
        parts = [
            book[index].flatten(1)[:, :rows] for book, index in zip(books, indices, strict=True)
        ]
        return torch.stack(parts).sum(0)

    counts = torch.rand(rows) + 0.5
    pull = hessian @ (made(books) - wanted)
    found = refine(books, indices, hessian, counts, pull, 200)
    # Nothing that the books can express is left in the gradient.
    gradient = hessian @ (made(found) - wanted) * counts
    padded = torch.nn.functional.pad(gradient, (0, 2)).view(-1, 3)
    for index in indices:
        rest = torch.zeros(size, 3).index_add_(0, index.flatten(), padded)
        assert rest.abs().max() < 1e-2 * pull.abs().max()
    few = refine(books, indices, hessian, counts, pull, 2)

    def loss(books: list[Tensor]) -> float:
        change = made(books) - wanted
        return float(((hessian @ change) * change * counts).sum())

    assert loss(found) < loss(few) < loss(books)


# the whole


@pytest.mark.parametrize("bits", [2, 3])
def test_ahead_of_gptq(bits: int) -> None:
    weight, hessian = uneven(480, 160), hessian_of(160)
    curvature = curvature_of(hessian)
    layer = Vptq().layer(weight, bits, curvature)
    scalar = gptq_grouped(weight, curvature, Grid(bits, 32), search="mse")
    assert layer.bits < scalar.bits
    ahead = proxy(layer.dequantize(), weight, hessian) / proxy(scalar.dequantize(), weight, hessian)
    assert ahead < {2: 0.7, 3: 0.9}[bits]


def test_rows_of_different_sizes_do_not_matter() -> None:
    plain, hessian = torch.randn(240, 80), hessian_of(80)
    curvature = curvature_of(hessian)
    factors = torch.randn(240, 1).exp2()
    even, uneven = (
        proxy(Vptq().layer(weight, 3, curvature).dequantize(), weight, hessian)
        for weight in (plain, plain * factors)
    )
    assert uneven < 1.15 * even


def test_each_part_lowers_the_error() -> None:
    weight, hessian = torch.randn(240, 80), hessian_of(80)
    curvature = curvature_of(hessian)

    def error(method: Vptq, known: Curvature | None = curvature) -> float:
        return proxy(method.layer(weight, 2, known).dequantize(), weight, hessian)

    plain = error(Vptq(steps=0, outlier_share=0))
    assert error(Vptq(steps=12, outlier_share=0)) < plain
    assert error(Vptq(steps=0, outlier_share=0.05)) < plain
    assert plain < 0.7 * error(Vptq(steps=0, outlier_share=0), None), "errors are passed on"
    assert error(Vptq(passes=3)) < error(Vptq(passes=1)) * 1.01


def test_a_residual_book_takes_up_what_is_left() -> None:
    weight = torch.randn(240, 80)
    layer = Vptq(residual=True, outlier_share=0, steps=0).layer(weight, 4, None)
    assert len(layer.main.books) == 2
    whole = (layer.dequantize() - weight).norm()
    main = Books(layer.main.books[:1], layer.main.indices[:1])
    first = Vector(main, layer.scale, layer.row_scale)
    assert whole < 0.5 * (first.dequantize() - weight).norm()


@pytest.mark.parametrize("shape", [(50, 24), (192, 64), (7, 3)])
@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_stored_and_read_again(bits: int, residual: bool, shape: tuple[int, int]) -> None:
    weight = torch.randn(shape)
    layer = Vptq(residual=residual, outlier_share=0.1, rounds=3).layer(weight, bits, None)
    again = layer_kind(layer.kind).from_tensors(layer.tensors(), layer.settings())
    assert torch.equal(again.dequantize(), layer.dequantize())
    assert again.shape == shape
    stored = sum(t.numel() * t.element_size() for t in layer.tensors().values())
    assert layer.bits == again.bits == 8 * stored / weight.numel()
    with pytest.raises(UserError, match="the file is damaged"):
        Vector.from_tensors(layer.tensors(), {"shape": [shape[0], shape[1] + 1]})


def test_what_it_takes() -> None:
    weight = torch.randn(512, 256)
    layer = Vptq(outlier_share=0, rounds=2).layer(weight, 2, None)
    length, book = layer.main.books[0].shape[1], layer.main.books[0].numel()
    assert length == 4  # a book for vectors of 5 would add more than 0.15 bits
    words = 8 * 256 // 32 * 512 // 4
    assert layer.bits == (32 * words + 16 * (book + 512 + 256)) / weight.numel()
    assert 2.1 < layer.bits < 2.25
    longer = Vptq(outlier_share=0, book_share=1, rounds=1, samples=2048).layer(weight, 2, None)
    assert longer.main.books[0].shape == (1024, 5)


def test_every_number_of_a_book_can_be_chosen() -> None:
    """Indices that need all of their bits, across the borders of words."""
    books = (torch.arange(128 * 2).view(128, 2).half(), torch.arange(16).view(8, 2).half() / 16)
    indices = (torch.randperm(128).int().view(8, 16), torch.randint(8, (8, 16)).int())
    main = Books(books, indices)
    again = Books.unpacked(books, main.packed(), (16, 16))
    assert all(torch.equal(*pair) for pair in zip(again.indices, indices, strict=True))
    wanted = books[0].float()[indices[0].long()] + books[1].float()[indices[1].long()]
    assert torch.equal(main.decoded(16), wanted.transpose(1, 2).reshape(16, 16))


def test_outlier_columns_are_those_with_the_largest_inputs() -> None:
    hessian = torch.eye(50)
    hessian[7, 7] = hessian[31, 31] = 1000
    weight = torch.randn(64, 50)
    layer = Vptq(outlier_share=0.04).layer(weight, 2, curvature_of(hessian))
    assert layer.outlier_column is not None
    assert layer.outlier_column.tolist() == [7, 31]
    error = (layer.dequantize() - weight).square().mean(0)
    assert error[[7, 31]].mean() < 0.3 * error.mean()


def test_dead_inputs_and_dead_weights() -> None:
    weight, hessian = torch.randn(64, 40), hessian_of(40)
    hessian[5], hessian[:, 5] = 0, 0
    weight[:, 9] = 0
    made = Vptq().layer(weight, 3, curvature_of(hessian)).dequantize()
    assert made.isfinite().all()
    assert made[:, 9].abs().max() < 1e-5
    assert (made[:, 5] - weight[:, 5]).norm() < 0.5 * weight[:, 5].norm()


@pytest.mark.parametrize("name", [name for name in ARCHITECTURES if "-" not in name])
def test_blocks_of_every_architecture(name: str) -> None:
    whole = block(name, chunks=2)
    before = {path: whole.weight(path).clone() for path in whole.linears}
    layers = Vptq(rounds=3, steps=3).quantize(whole, dict.fromkeys(whole.linears, Grid(4)))
    for path, weight in before.items():
        assert torch.equal(whole.weight(path), weight), "the walk puts the new weights in"
        assert layers[path].shape == weight.shape
        assert (layers[path].dequantize() - weight).norm() < 0.4 * weight.norm()


def test_nothing_known_and_cancelled() -> None:
    weight = torch.randn(64, 32)
    lone = lone_block({"a": weight}, [])
    layer = Vptq().quantize(lone, {"a": Grid(4)})["a"]
    assert (layer.dequantize() - weight).norm() < 0.2 * weight.norm()
    assert any("no calibration token reached it" in note for note in lone.notes)

    def stop() -> None:
        raise Cancelled

    lone.check = stop
    with pytest.raises(Cancelled):
        Vptq().quantize(lone, {"a": Grid(4)})
