"""Products of matrices, each sum in the order of its terms: the same bits whatever the processor and the sizes.

A library cuts a product into blocks that suit the processor, so that sums are taken in another order on another one.
Here each number of the result is one chain of fused multiply-adds. Four rows and sixteen columns of it are kept in
registers at a time, which is enough to keep a processor busy: on sizes of this study as fast as a library.
"""

from typing import Any

from memexp.compiled.layout import LANES
from memexp.compiled.vectors import compiled, fma, load, spread, store


@compiled
def multiply(
    A: Any, a: int, a_row: int, a_term: int, B: Any, b: int, b_term: int, C: Any, c: int, c_row: int,
    rows: int, terms: int, columns: int,
) -> None:  # fmt: skip
    """C += A B, for matrices that lie in flat arrays from the places a, b and c on.

    Args:
        A: holds [rows, terms]; its element (i, k) is at ``a + i a_row + k a_term``, so that a transposed matrix is one
            with other steps.
        a: where A begins.
        a_row: from one row of A to the next.
        a_term: from one term to the next.
        B: holds [terms, columns], the numbers of a row side by side.
        b: where B begins.
        b_term: from one row of B to the next.
        C: holds [rows, columns], the numbers of a row side by side.
        c: where C begins.
        c_row: from one row of C to the next.
        rows: of A and C.
        terms: of each sum.
        columns: a multiple of `LANES`.
    """
    for j in range(0, columns, LANES):
        i = 0
        while i + 4 <= rows:
            a0 = a + i * a_row
            a1, a2, a3 = a0 + a_row, a0 + 2 * a_row, a0 + 3 * a_row
            c0 = c + i * c_row + j
            c1, c2, c3 = c0 + c_row, c0 + 2 * c_row, c0 + 3 * c_row
            sum0, sum1, sum2, sum3 = load(C, c0), load(C, c1), load(C, c2), load(C, c3)
            k, term = 0, b + j
            for _ in range(terms):
                row = load(B, term)
                sum0 = fma(spread(A, a0 + k), row, sum0)
                sum1 = fma(spread(A, a1 + k), row, sum1)
                sum2 = fma(spread(A, a2 + k), row, sum2)
                sum3 = fma(spread(A, a3 + k), row, sum3)
                k += a_term
                term += b_term
            store(C, c0, sum0)
            store(C, c1, sum1)
            store(C, c2, sum2)
            store(C, c3, sum3)
            i += 4
        while i < rows:
            a0, c0 = a + i * a_row, c + i * c_row + j
            total = load(C, c0)
            for k in range(terms):
                total = fma(spread(A, a0 + k * a_term), load(B, b + j + k * b_term), total)
            store(C, c0, total)
            i += 1


@compiled
def add_rows(A: Any, a: int, a_row: int, C: Any, c: int, rows: int, columns: int) -> None:
    """Add all rows of a matrix [rows, columns], the first one first, to the row at c; columns as in `multiply`."""
    for j in range(0, columns, LANES):
        total = load(C, c + j)
        for i in range(rows):
            total = total + load(A, a + i * a_row + j)
        store(C, c + j, total)


@compiled
def transpose(A: Any, a: int, a_row: int, C: Any, c: int, c_row: int, rows: int, columns: int) -> None:
    """Write a matrix [rows, columns] as [columns, c_row], the columns after the last one zero."""
    for j in range(columns):
        for i in range(rows):
            C[c + j * c_row + i] = A[a + i * a_row + j]
        for i in range(rows, c_row):
            C[c + j * c_row + i] = 0


@compiled
def clear(C: Any, c: int, numbers: int) -> None:
    """Set numbers to zero."""
    for i in range(c, c + numbers):
        C[i] = 0


@compiled
def copy(A: Any, a: int, C: Any, c: int, numbers: int) -> None:
    """Copy numbers, a multiple of `LANES` of them."""
    for j in range(0, numbers, LANES):
        store(C, c + j, load(A, a + j))
