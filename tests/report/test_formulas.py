"""Formulas are drawn without a network; what cannot be drawn stands readably."""

import base64
import re

import pytest

from sacd.report.formulas import with_formulas


def test_a_formula_becomes_a_picture_named_by_its_source():
    text = with_formulas("Let $L_D < 2$ be small.")
    drawing = base64.b64decode(re.search(r"base64,([^\"]+)", text)[1]).decode()
    assert text.startswith('Let <img class="tex" alt="L_D &lt; 2"') and text.endswith("> be small.")
    assert drawing.count("<use ") == 4 and "<dc:date>" not in drawing and "#ffffff" not in drawing
    assert with_formulas("Let $L_D < 2$ be small.") == text


@pytest.mark.parametrize("tex", [r"\tfrac12 m", r"\lVert x \rVert", r"\mathbb R", r"\big(h\big)"])
def test_what_mathtext_spells_differently_is_drawn(tex):
    assert "<img" in with_formulas(f"${tex}$")


def test_the_number_of_an_equation_stands_beside_it():
    text = with_formulas("$$L = L_C \\tag{5}$$")
    assert text.startswith('<div class="formula" tabindex="0"') and text.count("<img") == 1
    assert text.endswith("<span>(5)</span></div>")


def test_what_cannot_be_drawn_is_shown_as_its_source():
    assert with_formulas(r"$\nosuch{x} < y$") == r"<code>\nosuch{x} &lt; y</code>"
    assert with_formulas("costs $5 and $6x") == "costs $5 and $6x"
