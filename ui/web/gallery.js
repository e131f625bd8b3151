// Cards with hits, in sections if they are grouped, or plain tiles. `act` tells Python what is wanted with which point.
function score(card) {
  const node = make("div", "score");
  const bar = make("div", "bar");
  bar.append(make("i"));
  bar.firstChild.style.width = `${card.bar * 100}%`;
  node.append(bar, make("span", "", card.score));
  if (card.percentile) node.append(make("span", "percentile", card.percentile));
  node.title = card.meaning;
  return node;
}

function choices(card, act) {
  const node = make("div", "actions");
  node.append(
    button("more", "More like this", `More like ${card.heading}`, () => act("ask", card.id)),
    button("sign", "+", `Also like ${card.heading}`, () => act("like", card.id)),
    button("sign", "−", `Not like ${card.heading}`, () => act("unlike", card.id)),
  );
  return node;
}

function largeView(root, cards, at, act) {
  const card = cards[at];
  const node = modal(root, card.heading);
  const choose = (what, id) => {
    node.close();
    act(what, id);
  };
  const turn = (step) => {
    const next = at + step;
    if (next < 0 || next >= cards.length) return;
    node.close();
    largeView(root, cards, next, act);
  };
  const list = make("dl");
  for (const [name, value] of card.rows) list.append(make("dt", "", name), make("dd", "", value));
  const turns = make("div", "turns");
  const before = button("quiet", "‹ Before", "The one before", () => turn(-1));
  const after = button("quiet", "After ›", "The one after", () => turn(1));
  before.disabled = at === 0;
  after.disabled = at === cards.length - 1;
  turns.append(before, make("span", "", `${at + 1} of ${cards.length}`), after);
  node.append(picture(card.src, card.alt), turns, make("h3", "", card.heading), score(card), make("p", "", card.meaning));
  if (card.copies.length) {
    node.append(make("h4", "", `Nearly the same (${card.copies.length})`));
    const strip = make("div", "strip");
    strip.append(...card.copies.map((copy) => tile({ ...copy, alt: copy.caption }, choose)));
    node.append(strip);
  }
  node.append(choices(card, choose), list);
  node.onkeydown = (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (step) turn(step);
  };
  node.showModal();
}

function cardNode(root, cards, at, act) {
  const card = cards[at];
  const node = make("article", `card ${card.mark ?? ""}`);
  const open = () => largeView(root, cards, at, act);
  const frame = button("frame", "", `Large view of number ${card.rank}, ${card.alt}`, open);
  frame.append(picture(card.src, ""), make("span", "rank", card.rank));
  for (const badge of card.badges) frame.append(make("span", "badge", badge));
  const heading = make("div", "heading", card.heading);
  const subheading = make("div", "subheading", card.subheading);
  heading.title = card.heading;
  subheading.title = card.subheading;
  node.append(frame, score(card), heading, subheading);
  if (card.copies.length) node.append(button("folded", `+${card.copies.length} nearly the same`, "", open));
  node.append(choices(card, act));
  return node;
}

function tile(one, act) {
  const node = button("tile", "", "", () => act("ask", one.id));
  node.append(picture(one.src, one.alt));
  if (one.caption) node.append(make("span", "caption", one.caption));
  return node;
}

export default function ({ data, parentElement, setTriggerValue }) {
  const root = parentElement.querySelector(".root");
  const act = (what, id) => {
    setTriggerValue("act", [what, id]);
    if (what === "ask") document.querySelector("[data-testid=stMain]")?.scrollTo({ top: 0, behavior: "smooth" });
  };
  root.classList.toggle("rows", Boolean(data.tiles));
  const nodes = (data.tiles ?? []).map((one) => tile(one, act));
  for (const section of data.sections ?? []) {
    if (section.title) nodes.push(make("h3", "", section.title));
    const cards = make("div", "cards");
    cards.append(...section.cards.map((_, at) => cardNode(root, section.cards, at, act)));
    nodes.push(cards);
  }
  root.replaceChildren(...nodes);
}
