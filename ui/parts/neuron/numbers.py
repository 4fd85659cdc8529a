"""A neuron over training, how its activations are spread, and what it does to the logits."""

import streamlit as st

from ui.menu import CAMERA_ONLY, PLOTLY, share, under
from ui.models.neuron.figures import (
    effect_figure,
    effect_in_words,
    effect_sql,
    effect_table,
    histogram_figure,
    histogram_in_words,
    histogram_of,
    histogram_sql,
    histogram_table,
)
from ui.models.neuron.page import missing_command
from ui.models.neuron.training import hidden_values, training_figure, training_in_words
from ui.models.text import plural
from ui.parts.neuron.page import CANNOT, NeuronPage
from ui.widgets import say, to_fill


def draw_training(page: NeuronPage) -> None:
    """Largest activation, turnover, births, firing rate."""
    found, choices = page.found, page.choices
    st.plotly_chart(
        training_figure(found, page.run, step=choices.step, x_scale=choices.x_scale, y_scale=choices.y_scale),
        key="training",
        config=PLOTLY,
        alt=training_in_words(found, page.run),
    )
    if choices.y_scale == "log" and (n := hidden_values(found, page.run)):
        say([f"{plural(n, 'value')} at or below 0: they have no place on a log axis."], [], CANNOT)
    words = (
        "Band: from the largest activation to the last of the examples. Changed: the share that was not among those of the "
        f"checkpoint before. {found.sentence}"
    )
    with under(words):
        share(
            link=page.link,
            python=found.python,
            sql=found.sql,
            csv=lambda: found.history,
            name=f"{choices.name}_over_training",
        )


def draw_numbers(page: NeuronPage) -> None:
    """Histogram and direct logit effect side by side, of the last checkpoint that has them."""
    found, c = page.found, page.choices
    name = c.name
    left, right = st.columns(2, gap="large")
    histogram = histogram_of(found, page.run)
    if histogram is not None:
        with left:
            st.markdown("**Activations**")
            st.plotly_chart(
                histogram_figure(histogram),
                key="histogram",
                config=CAMERA_ONLY,
                alt=histogram_in_words(histogram, name),
            )
            st.caption(
                f"Step {histogram['step']:,}. The first and the last bin also take what lies beyond them."
            )
            # in half a page there is no room for the menu beside the words
            share(
                link=page.link,
                python=f"{found.python}.histogram",
                sql=histogram_sql(page.run, step=histogram["step"], layer=c.layer, unit=c.unit),
                csv=lambda: histogram_table(histogram),
                name=f"{name}_histogram",
            )
    effect = effect_table(found, page.run)
    if effect.num_rows:
        with left if histogram is None else right:
            st.markdown("**Direct effect on the logits**")
            st.plotly_chart(
                effect_figure(effect),
                key="effect",
                config=CAMERA_ONLY,
                alt=effect_in_words(effect, name, page.run),
            )
            step = next(r["step"] for r in found.effect.to_pylist() if r["run"] == page.run)
            st.caption(f"Step {step:,}. Without later layers and the final LayerNorm: not all that it does.")
            share(
                link=page.link,
                python=f"{found.python}.effect",
                sql=effect_sql(page.run, step=step, layer=c.layer, unit=c.unit),
                csv=lambda: effect,
                name=f"{name}_logit_effect",
            )
    if command := missing_command(found):
        to_fill("Up to this checkpoint no more is measured of this neuron; this adds it:", command)
