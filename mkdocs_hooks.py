"""What `make docs` does beside mkdocs: pages from elsewhere, links that hold on the site, and `llms.txt`.

Pages are written for the repository: a link names a file by its path there. On the site a link to another page leads to
that page, and any other file that a page links to is brought along, under `files/`.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import TYPE_CHECKING

from mkdocs.structure.files import File

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.nav import Navigation
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).parent
ELSEWHERE = (
    "README.md",
    "README.ko.md",
    "CHANGELOG.md",
    "CODE_OF_CONDUCT.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "examples/README.md",
    "tests/mutants.md",
)
"""Pages that are at home outside `docs/`."""
SHORT = 40
"""Letters that a first sentence has at least."""
LINK = re.compile(r"(?<=\]\()(?!\w+:|#)([^)\s#]+)(#[^)\s]*)?(?=\))")


def site_path(path: str) -> str:
    """Return where a file of the repository lies in the site's sources.

    Args:
        path: Its path in the repository, with slashes.
    """
    if path.startswith("docs/"):
        return path.removeprefix("docs/")
    if path == "README.md":
        return "index.md"
    if path.endswith(".md"):
        return path.removesuffix("/README.md").removesuffix(".md").replace("/", "-").replace(".", "-").lower() + ".md"
    return f"files/{path}"


def links_of(path: str, text: str) -> Iterator[str]:
    """Yield the files of the repository that a page links to, by their paths there."""
    for target, _ in LINK.findall(text):
        linked = posixpath.normpath(posixpath.join(posixpath.dirname(path), target))
        if (ROOT / linked).is_file():
            yield linked


def relinked(path: str, text: str) -> str:
    """Return a page with its links as they are on the site.

    Args:
        path: The page's path in the repository.
        text: What stands there.
    """
    here = posixpath.dirname(site_path(path)) or "."

    def on_site(match: re.Match[str]) -> str:
        linked = posixpath.normpath(posixpath.join(posixpath.dirname(path), match[1]))
        if not (ROOT / linked).is_file():
            return match[0]
        return posixpath.relpath(site_path(linked), here) + (match[2] or "")

    return LINK.sub(on_site, text)


def summary_of(text: str) -> str:
    """Return the first sentence of a page as plain text.

    Args:
        text: The page. What begins with a mark (a heading, a picture, a table, a block) or is too short for a sentence
            is passed over.
    """
    for paragraph in re.split(r"\n\s*\n", text):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)|[`*]", r"\1", " ".join(paragraph.split()))
        if re.match(r"(?!```)[\w`*]", paragraph) and len(plain) > SHORT:
            return re.split(r"(?<=\.)\s", plain)[0].rstrip(":.") + "."
    return ""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Bring in the pages from elsewhere, and the files that pages link to."""
    pages = {path: (ROOT / path).read_text(encoding="utf-8") for path in ELSEWHERE}
    own = [f"docs/{file.src_uri}" for file in files.documentation_pages()]
    linked = {each for path in own for each in links_of(path, (ROOT / path).read_text(encoding="utf-8"))}
    linked |= {each for path, text in pages.items() for each in links_of(path, text)}
    for path in sorted({*ELSEWHERE, *linked}):
        if not path.startswith("docs/"):
            files.append(File.generated(config, site_path(path), abs_src_path=str(ROOT / path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:  # noqa: ARG001  # mkdocs' names
    """Lead each link to where its target is on the site; describe the page by its first sentence."""
    path = Path(str(page.file.abs_src_path)).relative_to(ROOT).as_posix()
    page.meta.setdefault("description", summary_of(markdown))
    return relinked(path, markdown)


def on_nav(nav: Navigation, config: MkDocsConfig, files: Files) -> Navigation:  # noqa: ARG001
    """Keep the order of the pages, for `llms.txt`."""
    config.extra["nav_pages"] = list(nav.pages)
    return nav


def on_post_build(config: MkDocsConfig) -> None:
    """Write `llms.txt`: each page's title, address and first sentence, in the order of the navigation."""
    pages = config.extra["nav_pages"]
    lines = [
        f"# {config.site_name}",
        "",
        f"> {config.site_description}",
        "",
        *(f"- [{page.title}]({page.file.dest_uri}): {page.meta['description']}" for page in pages),
    ]
    (Path(config.site_dir) / "llms.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
