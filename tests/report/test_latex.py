"""The tables for LaTeX."""

from raysafe.report.latex import escaped, latex_report

from .rows import a_row


def test_what_latex_would_read_is_escaped():
    assert escaped("50 % of a_b & #1 {x} ~^\\\\") == (
        r"50 \% of a\_b \& \#1 \{x\} \textasciitilde{}\textasciicircum{}\textbackslash{}\textbackslash{}"
    )
    assert escaped("γ × 2 – a\nb") == r"$\gamma$ $\times$ 2 -- a b"


def test_every_line_has_as_many_cells_as_columns_and_the_best_is_bold():
    tex = latex_report("my sweep", "Is 80 % enough?", [a_row(0.1), a_row(0.2, win_rate=0.6)], [a_row(0.1), a_row(0.2)])
    lines = [line for line in tex.splitlines() if line.endswith(r"\\")]
    columns = tex.partition(r"\begin{tabular}{")[2].partition("}")[0]
    assert len(lines) == 3 and {line.count(" & ") + 1 for line in lines} == {len(columns)}
    assert r"\textbf{0.60} {\scriptsize [.40, .60]}" in tex and tex.count(r"\begin{table}") == 1
    assert r"\caption{my sweep. Is 80 \% enough?}" in tex and r"\label{tab:my-sweep}" in tex


def test_several_seeds_have_a_table_of_means():
    tex = latex_report("s", "", [a_row(seed=0), a_row(seed=1)], [a_row()])
    assert tex.count(r"\begin{table}") == 2 and "means over seeds" in tex
