"""Entry point of the explorer: `pathscope ui`, which is `streamlit run ui/app.py -- ARCHIVE [--snapshot]`."""

from pathlib import Path

import streamlit as st
from streamlit.navigation.page import Page as StreamlitPage

from ui.models.address import APART, filled, ignored
from ui.models.text import escape_markdown
from ui.view import discover

HERE = Path(__file__).resolve().parent
ROOT = "root"  # asked of the default page, which is at the root whatever it is called
_DRAWN = "_page_drawn_last"
_MEANT = "_what_words_last_meant"


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
    _run(st.navigation(menus, position="top"))


def _run(page: StreamlitPage) -> None:
    """Draw a page; what its address asks for in vain is said when it opens."""
    asked = _words()
    if len(said := filled(asked)) < len(asked):
        st.switch_page(page, query_params=said)
    if opens := st.session_state.get(_DRAWN) != page.url_path:
        _leave_behind(page.url_path)
    st.session_state[_DRAWN] = page.url_path
    page.run()
    if opens:
        chosen = {name: st.session_state[name] for name in asked if name in st.session_state}
        if lines := ignored(asked, _words(), chosen):
            told = escape_markdown(" ".join(lines))
            st.toast(f"**In the address:** {told}", icon=":material/link_off:", duration="infinite")


def _leave_behind(page: str) -> None:
    """Words that said something else on the last page that has them do not go along to this one."""
    meant = st.session_state.setdefault(_MEANT, {})
    for word, groups in APART.items():
        if now := next((pages for pages in groups if page in pages), None):
            if meant.get(word, now) != now:
                st.session_state.pop(word, None)
            meant[word] = now


def _words() -> dict[str, list[str]]:
    return {name: st.query_params.get_all(name) for name in st.query_params}


main()
