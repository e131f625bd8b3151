// The query's card: its images and texts with buttons to change each, a line about it, and the time of its search.
function exampleNode(example, index, alone, root, act) {
  const node = make("figure", `example ${example.sign}`);
  node.append(example.words ? make("div", "text", example.title) : imageNode(example.src, example.title));
  const like = example.sign === "like";
  if (!alone) node.append(make("span", "badge", like ? "like" : "not like"));
  const actions = make("div", "actions");
  const crop = button("sign", "", `Search by a part of ${example.title}`, () =>
    cropWindow(root, example, (box) => act("crop", index, box)),
  );
  crop.append(icon(CROP_ICON));
  if (!example.words) actions.append(crop);
  if (!alone) {
    const label = `${like ? "Not like" : "Like"} ${example.title}`;
    actions.append(button("sign", like ? "−" : "+", label, () => act("turn", index)));
  }
  actions.append(button("sign", "×", `Remove ${example.title} from the query`, () => act("remove", index)));
  node.append(actions);
  return node;
}

export default function ({ data, parentElement, setTriggerValue }) {
  const root = parentElement.querySelector(".root");
  const act = (action, index, box) => setTriggerValue("act", [action, index, box ?? null]);
  const examples = make("div", "examples");
  const alone = data.examples.length === 1;
  examples.classList.toggle("several", data.examples.length > 1);
  examples.append(...data.examples.map((example, index) => exampleNode(example, index, alone, root, act)));
  if (!data.examples.length) examples.append(make("div", "empty", "?"));
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
  root.replaceChildren(examples, words);
}
