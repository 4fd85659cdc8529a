"""Parts of pages too long for one file: each draws one section from the choices made on its page."""
