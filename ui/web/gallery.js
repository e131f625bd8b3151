function make(name, className, text) {
  const node = document.createElement(name);
  if (className) node.className = className;
  if (text !== undefined && text !== null) node.textContent = text;
  return node;
}

function picture(src, alt) {
  const image = make("img");
  image.alt = alt;
  image.src = src;
  return image;
}

function details(card, alt) {
  const panel = make("div", "panel");
  panel.popover = "auto";
  const list = make("dl");
  for (const [name, value] of card.rows) list.append(make("dt", "", name), make("dd", "", value));
  const close = make("button", "quiet", "Close");
  close.popoverTargetElement = panel;
  close.popoverTargetAction = "hide";
  panel.append(picture(card.src, alt), list, close);
  return panel;
}

function cardNode(card, choose) {
  const alt = card.subheading ? `${card.heading}, ${card.subheading}` : card.heading;
  const node = make("article", "card");
  const frame = make("button", "frame");
  frame.title = "More like this";
  frame.append(picture(card.src, alt), make("span", "rank", card.rank));
  frame.onclick = () => choose(card.id);

  const bar = make("div", "bar");
  bar.append(make("i"));
  bar.firstChild.style.width = `${card.bar * 100}%`;
  const score = make("div", "score");
  score.append(bar, make("span", "", card.score));
  score.title = "Cosine similarity: 1 is the same";

  const heading = make("div", "heading", card.heading);
  const subheading = make("div", "subheading", card.subheading);
  heading.title = card.heading;
  subheading.title = card.subheading;

  const panel = details(card, alt);
  const info = make("button", "quiet", "Details");
  info.popoverTargetElement = panel;
  const more = make("button", "more", "More like this");
  more.onclick = () => choose(card.id);
  const actions = make("div", "actions");
  actions.append(more, info);
  node.append(frame, score, heading, subheading, actions, panel);
  return node;
}

function tileNode(tile, choose) {
  const node = make("button", "tile");
  node.append(picture(tile.src, tile.alt));
  if (tile.caption) node.append(make("span", "caption", tile.caption));
  node.onclick = () => choose(tile.id);
  return node;
}

export default function ({ data, parentElement, setTriggerValue }) {
  const root = parentElement.querySelector(".root");
  const choose = (id) => {
    setTriggerValue("chosen", id);
    document.querySelector("[data-testid=stMain]")?.scrollTo({ top: 0, behavior: "smooth" });
  };
  root.classList.toggle("tiles", Boolean(data.tiles));
  root.replaceChildren(
    ...(data.cards ?? []).map((card) => cardNode(card, choose)),
    ...(data.tiles ?? []).map((tile) => tileNode(tile, choose)),
  );
}
