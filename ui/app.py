"""Entry point of the explorer: `pathscope ui`, which is `streamlit run ui/app.py -- ARCHIVE [--snapshot]`."""

from pathlib import Path

import streamlit as st
from streamlit.navigation.page import Page as StreamlitPage

from ui.view import discover

HERE = Path(__file__).resolve().parent


def main() -> None:
    """Build the navigation from the pages that are there, and run the chosen one."""
    st.set_page_config(page_title="pathscope", page_icon=HERE / "icon.svg", layout="wide")
    st.logo(HERE / "logo.svg", size="medium")
    st.html(HERE / "style.css")
    views = discover()
    menus: dict[str, list[StreamlitPage]] = {}
    for v in views:
        page = st.Page(
            v.file,
            title=v.title,
            icon=v.icon,
            url_path=v.url_path,
            default=v is views[0],
            visibility="hidden" if v.hidden else "visible",
            help=v.about,
        )
        menus.setdefault(v.section, []).append(page)
    st.navigation(menus, position="top").run()


main()
