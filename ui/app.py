"""Entry point of the explorer: `pathscope ui`, which is `streamlit run ui/app.py -- ARCHIVE [--snapshot]`."""

from pathlib import Path

import streamlit as st
from streamlit.navigation.page import Page as StreamlitPage

from ui.view import discover

HERE = Path(__file__).resolve().parent
ROOT = "root"  # asked of the default page, which is at the root whatever it is called


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
            url_path=v.url_path if v is not views[0] else ROOT,
            default=v is views[0],
            visibility="hidden" if v.hidden else "visible",
            help=v.about,
        )
        menus.setdefault(v.section, []).append(page)
    home = menus[views[0].section][0]
    # Streamlit has its default page at the root alone, and calls the page's own address unknown
    at_its_address = st.Page(
        lambda: st.switch_page(home, query_params=st.query_params.to_dict()),
        title=views[0].title,
        url_path=views[0].url_path,
        visibility="hidden",
    )
    menus[views[0].section].append(at_its_address)
    st.navigation(menus, position="top").run()


main()
