// The query's card: its pictures with what can be done with each, a line about it, and the time that it took.
function exampleNode(one, at, alone, root, act) {
  const node = make("figure", `example ${one.sign}`);
  node.append(picture(one.src, one.alt));
  if (!alone) node.append(make("span", "badge", one.sign === "like" ? "like" : "not like"));
  const actions = make("div", "actions");
  const crop = button("sign", "", `Search by a part of ${one.title}`, () =>
    cropWindow(root, one, (box) => act("crop", at, box)),
  );
  crop.append(icon(CROP_ICON));
  actions.append(crop);
  if (!alone) {
    const turned = one.sign === "like" ? "Not like" : "Like";
    actions.append(button("sign", one.sign === "like" ? "−" : "+", `${turned} ${one.title}`, () => act("turn", at)));
  }
  actions.append(button("sign", "×", `Take ${one.title} out of the search`, () => act("remove", at)));
  node.append(actions);
  return node;
}

export default function ({ data, parentElement, setTriggerValue }) {
  const root = parentElement.querySelector(".root");
  const act = (what, at, box) => setTriggerValue("act", [what, at, box ?? null]);
  const pictures = make("div", "pictures");
  const alone = data.examples.length === 1;
  pictures.classList.toggle("several", data.examples.length > 1);
  pictures.append(...data.examples.map((one, at) => exampleNode(one, at, alone, root, act)));
  if (!data.examples.length) pictures.append(make("div", "empty", "?"));
  const words = make("div", "words");
  words.append(make("h2", "", data.title), make("p", "", data.line));
  for (const note of data.notes) words.append(make("p", "note", note));
  const times = make("div", "times");
  for (const [stage, spent] of data.times) {
    const chip = make("span");
    chip.append(make("b", "", stage), ` ${spent}`);
    times.append(chip);
  }
  words.append(times);
  root.replaceChildren(pictures, words);
}
