// Hits as cards, in sections if they are grouped, or images as plain tiles. `act` sends an action and a point's id.
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

function actions(card, act) {
  const node = make("div", "actions");
  node.append(
    button("more", "Similar images", `Images similar to ${card.heading}`, () => act("search", card.id)),
    button("sign", "+", `Like ${card.heading}`, () => act("like", card.id)),
    button("sign", "−", `Not like ${card.heading}`, () => act("unlike", card.id)),
  );
  return node;
}

function largeView(root, cards, index, act) {
  const card = cards[index];
  const node = modal(root, card.heading);
  const actAndClose = (action, id) => {
    node.close();
    act(action, id);
  };
  const turn = (step) => {
    if (!cards[index + step]) return;
    node.close();
    largeView(root, cards, index + step, act);
  };
  const list = make("dl");
  for (const [name, value] of card.rows) list.append(make("dt", "", name), make("dd", "", value));
  const turns = make("div", "turns");
  const previous = button("quiet", "‹ Previous", "Previous image", () => turn(-1));
  const next = button("quiet", "Next ›", "Next image", () => turn(1));
  previous.disabled = index === 0;
  next.disabled = index === cards.length - 1;
  turns.append(previous, make("span", "", `${index + 1} of ${cards.length}`), next);
  node.append(imageNode(card.src, card.alt), turns, make("h3", "", card.heading), score(card), make("p", "", card.meaning));
  if (card.copies.length) {
    node.append(make("h4", "", `Near-duplicates (${card.copies.length})`));
    const strip = make("div", "strip");
    strip.append(...card.copies.map((copy) => tile({ ...copy, alt: copy.caption }, actAndClose)));
    node.append(strip);
  }
  node.append(actions(card, actAndClose), list);
  node.onkeydown = (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (step) turn(step);
  };
  node.showModal();
}

function cardNode(root, cards, index, act) {
  const card = cards[index];
  const node = make("article", `card ${card.mark ?? ""}`);
  const open = () => largeView(root, cards, index, act);
  const frame = button("frame", "", `Large view of number ${card.rank}, ${card.alt}`, open);
  frame.append(imageNode(card.src, ""), make("span", "rank", card.rank));
  for (const badge of card.badges) frame.append(make("span", "badge", badge));
  const heading = make("div", "heading", card.heading);
  const subheading = make("div", "subheading", card.subheading);
  heading.title = card.heading;
  subheading.title = card.subheading;
  node.append(frame, score(card), heading, subheading);
  if (card.copies.length) {
    const noun = card.copies.length === 1 ? "near-duplicate" : "near-duplicates";
    node.append(button("folded", `+${card.copies.length} ${noun}`, "", open));
  }
  node.append(actions(card, act));
  return node;
}

function tile(card, act) {
  const node = button("tile", "", "", () => act("search", card.id));
  node.append(imageNode(card.src, card.alt));
  if (card.caption) node.append(make("span", "caption", card.caption));
  return node;
}

export default function ({ data, parentElement, setTriggerValue }) {
  const root = parentElement.querySelector(".root");
  const act = (action, id) => {
    setTriggerValue("act", [action, id]);
    if (action === "search") document.querySelector("[data-testid=stMain]")?.scrollTo({ top: 0, behavior: "smooth" });
  };
  root.classList.toggle("rows", Boolean(data.tiles));
  const nodes = (data.tiles ?? []).map((card) => tile(card, act));
  for (const section of data.sections ?? []) {
    if (section.title) nodes.push(make("h3", "", section.title));
    const cards = make("div", "cards");
    cards.append(...section.cards.map((_, index) => cardNode(root, section.cards, index, act)));
    nodes.push(cards);
  }
  root.replaceChildren(...nodes);
}
