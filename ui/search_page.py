"""The search page: ask with pictures, see what is similar, go on from there."""

from dataclasses import dataclass

import streamlit as st

from cbir.errors import ImageError, UsageError
from cbir.filters import Filter
from cbir.images import decode, thumbnail
from cbir.records import Payload, Vector
from cbir.settings import Settings

from . import address, ask, cached, choice, filter_panel, hit_table, parts, problems, query, results
from .searcher import Answer, Crop, Embedded, Searcher

PAGE = 24
MAX_K = 240
GROUPS = 12
GROUP_SIZE = 6


@dataclass(frozen=True)
class Resolved:
    """An example of the query with everything that is known of it.

    Attributes:
        example: It.
        sign: "like" or "unlike".
        shown: How it is shown.
        line: What else there is to say of it.
        sha256: Of its bytes.
        embedded: Its vector, None for a stored picture, which has one already.
    """

    example: query.Example
    sign: query.Sign
    shown: parts.ShownExample
    line: str
    sha256: str
    embedded: Embedded | None

    @property
    def vector(self) -> str | Vector:
        """What the store is asked with."""
        return self.embedded.vectors[0] if self.embedded else self.example.ref


@dataclass(frozen=True)
class Wanted:
    """How to search, as the sidebar says."""

    where: Filter
    similarity: float
    least: float | None
    diversity: float
    group: str
    fold: bool
    exact: bool


def draw(settings: Settings) -> None:
    """Draw the page for the session's state."""
    address.read(_adopt)
    with st.sidebar:
        searcher = choice.choose(settings)
        wanted = _wanted(searcher) if searcher is not None else None
    if searcher is None or wanted is None:
        choice.how_to_fill(st.session_state["store"])
        return
    asked = resolve(searcher, settings)
    card, bring = st.columns([11, 9], gap="medium", vertical_alignment="center")
    with bring:
        ask.bring(settings, bool(asked))
    for problem in query.problems():
        st.error(problems.literal(problem), icon=":material/error:")
    if any(one.sign == "like" for one in asked):
        _answer(card, searcher, asked, wanted)
    else:
        with card:
            hint = "Bring pictures of your own, or choose one of those below."
            if asked:
                hint = "Choose at least one picture that hits are to be like."
            _card(asked, "What are you looking for?", hint, [], {})
        ask.examples(searcher)
    address.write(query.to_address(query.current()) | filter_panel.parameters(cached.fields(searcher)))


def _adopt(parameters: address.Parameters) -> None:
    query.ask(query.from_address(parameters))
    filter_panel.adopt(parameters)


def _wanted(searcher: Searcher) -> Wanted:
    """Draw how to search, and return it."""
    groups = [field for field, kind in cached.fields(searcher).items() if kind == "text"]
    with st.expander("Result", icon=":material/tune:", expanded=True):
        similarity = st.select_slider(
            "Similarity",
            list(results.SIMILARITIES),
            key="similarity",
            bind="query-params",
            help="Only hits that are more alike than most pairs of this collection: it means the same for every model.",
        )
        least = st.number_input(
            "Lowest score", -1.0, 1.0, None, 0.05, key="least", bind="query-params", placeholder="any"
        )
        group = st.selectbox(
            "Group by", ["", *groups], key="group", bind="query-params", format_func=lambda one: one or "nothing"
        )
        diversity = st.slider("Variety", 0.0, 1.0, 0.0, 0.1, key="diversity", bind="query-params", disabled=bool(group))
        fold = st.toggle("Fold near-duplicates", key="fold", bind="query-params")
        exact = st.toggle(
            "Scan everything", key="exact", bind="query-params", help="Compare with every picture: exact, and slower."
        )
    with st.expander("Filter", icon=":material/filter_alt:", expanded=True):
        where = filter_panel.draw(searcher)
    choice.facts(searcher.store.info)
    return Wanted(where, results.SIMILARITIES[similarity], least, 0.0 if group else diversity, group, fold, exact)


def resolve(searcher: Searcher, settings: Settings) -> list[Resolved]:
    """Return the session's query; what of it cannot be had is left out of it, and told.

    Raises:
        CbirError: The store failed.
    """
    examples = query.current().examples
    ids = [one.ref for _, one in examples if one.stored]
    stored = dict(zip(ids, zip(searcher.store.payloads(ids), searcher.store.thumbnails(ids), strict=True), strict=True))
    found: list[Resolved] = []
    gone: list[str] = []
    for sign, example in examples:
        try:
            if example.stored:
                payload, picture = stored[example.ref]
                if payload is None:
                    raise ImageError("That picture is not in this collection; choose another.")
                found.append(_stored(searcher, sign, example, payload, picture))
            else:
                found.append(_brought(searcher, sign, example, settings))
        except ImageError as error:
            gone.append(str(error))
    if gone:
        query.keep([(one.sign, one.example) for one in found])
        for problem in dict.fromkeys(gone):
            query.refuse(problem)
    return found


def _stored(
    searcher: Searcher, sign: query.Sign, example: query.Example, payload: Payload, picture: bytes | None
) -> Resolved:
    name, line, sha256 = parts.heading(payload), parts.subheading(payload), str(payload.get("sha256"))
    embedded = None
    if example.crop is not None:
        if picture is None:
            raise ImageError(f"There is no picture of {name} to take a part of.")
        embedded = cached.embedded(searcher, example.ref, picture, example.crop)
        line, sha256 = "A part of its thumbnail", ""
    return Resolved(example, sign, _shown(sign, name, picture, None, example), line, sha256, embedded)


def _brought(searcher: Searcher, sign: query.Sign, example: query.Example, settings: Settings) -> Resolved:
    picture = query.picture(example.ref, settings)
    embedded = cached.embedded(searcher, picture.sha256, picture.data, example.crop)
    line, sha256 = ("A part of your picture", "") if example.crop else ("Your picture", picture.sha256)
    shown = _shown(sign, picture.name, picture.thumbnail, picture.preview, example)
    return Resolved(example, sign, shown, line, sha256, embedded)


def _shown(
    sign: str, name: str, picture: bytes | None, large: bytes | None, example: query.Example
) -> parts.ShownExample:
    if example.crop is None:
        return parts.ShownExample(sign, name, picture, large or picture, None)
    crop, whole = example.crop, large or picture or b""
    part = thumbnail(crop.of(decode(whole)))
    return parts.ShownExample(sign, name, part, whole, (crop.left, crop.top, crop.right, crop.bottom))


def _answer(card: st.delta_generator.DeltaGenerator, searcher: Searcher, asked: list[Resolved], wanted: Wanted) -> None:
    """Search, and draw the query's card and what was found."""
    scale = cached.background(searcher)
    k = st.session_state.get("shown") or PAGE
    answer = search(searcher, asked, wanted, k, scale.score_at(wanted.similarity) if wanted.similarity else None)
    copies = {
        parts.heading(hit.payload): one.shown.title
        for one in asked
        if one.embedded and one.sha256
        for hit in searcher.copies(one.sha256, one.embedded, answer.hits)
    }
    notes = [f"Exact copy found: {copy}" for copy in copies]
    with card:
        if len(asked) == 1:
            title, line = asked[0].shown.title, asked[0].line
        else:
            like = sum(one.sign == "like" for one in asked)
            title = f"{len(asked)} pictures"
            line = f"Like {like} of them" + (f", not like {len(asked) - like}" if like < len(asked) else "")
        _card(asked, title, line, notes, answer.milliseconds)
    shown = results.sections(searcher, answer, scale, k, wanted.fold, {one.sha256 for one in asked if one.sha256})
    count = sum(len(section.cards) for section in shown)
    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
        st.markdown(f"**{_headline(count, wanted)}**", width="content")
        _downloads(searcher, answer, wanted)
    st.caption(results.how_searched(searcher.store.info, wanted.exact, bool(wanted.where)))
    parts.gallery("gallery", shown, _act)
    if not wanted.group and count >= k and k < MAX_K:
        st.button("Show more", icon=":material/expand_more:", on_click=_show_more, width="stretch")


def search(searcher: Searcher, asked: list[Resolved], wanted: Wanted, k: int, least: float | None) -> Answer:
    """Return the answer to a query, the time of its own stages included.

    Raises:
        CbirError: The store failed.
    """
    like, unlike = ([one.vector for one in asked if one.sign == sign] for sign in query.SIGNS)
    bounds = [bound for bound in (least, wanted.least) if bound is not None]
    how = {"exact": wanted.exact, "where": wanted.where, "min_score": max(bounds) if bounds else None}
    if wanted.group:
        answer = searcher.by_groups(like, unlike, wanted.group, GROUPS, GROUP_SIZE, **how)
    else:
        answer = searcher.by_examples(like, unlike, 2 * k if wanted.fold else k, wanted.diversity, **how)
    spent: dict[str, float] = {}
    for one in asked:
        for stage, milliseconds in (one.embedded.milliseconds if one.embedded else {}).items():
            spent[stage] = spent.get(stage, 0.0) + milliseconds
    return Answer(answer.hits, spent | answer.milliseconds, answer.groups)


def _card(asked: list[Resolved], title: str, line: str, notes: list[str], times: dict[str, float]) -> None:
    parts.query_card([one.shown for one in asked], title, line, notes, times, _change)


def _headline(count: int, wanted: Wanted) -> str:
    if not count:
        return "Nothing is that similar" if wanted.similarity or wanted.least is not None else "Nothing was found"
    if wanted.group:
        return "The most similar of each group"
    return f"The {count} most similar" if count > 1 else "The most similar"


def _downloads(searcher: Searcher, answer: Answer, wanted: Wanted) -> None:
    info = searcher.store.info
    access = "scan" if wanted.exact else info.access
    with st.container(horizontal=True, width="content"):
        table = hit_table.as_csv(answer.hits)
        st.download_button(
            "CSV", table, "hits.csv", "text/csv", on_click="ignore", type="tertiary", icon=":material/download:"
        )
        text = hit_table.as_json(answer, info, access)
        st.download_button(
            "JSON",
            text,
            "hits.json",
            "application/json",
            on_click="ignore",
            type="tertiary",
            icon=":material/download:",
        )


def _act(what: str, point_id: str) -> None:
    if what == "ask":
        query.ask_point(point_id)
    else:
        query.add("like" if what == "like" else "unlike", point_id)


def _change(what: str, at: int, box: object) -> None:
    """Do what the visitor wants with the example number `at`."""
    examples = query.current().examples
    if not 0 <= at < len(examples):
        return
    sign, example = examples[at]
    match what, box:
        case "remove", _:
            query.put(at, sign, None)
        case "turn", _:
            query.put(at, "unlike" if sign == "like" else "like", example)
        case "crop", None:
            query.put(at, sign, query.Example(example.ref))
        case "crop", [int(left), int(top), int(right), int(bottom)]:
            try:
                query.put(at, sign, query.Example(example.ref, Crop(left, top, right, bottom)))
            except UsageError as error:
                query.refuse(problems.sentence(error))


def _show_more() -> None:
    st.session_state["shown"] = min(MAX_K, (st.session_state.get("shown") or PAGE) + PAGE)
