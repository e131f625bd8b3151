export default function ({ data, parentElement }) {
  const root = parentElement.querySelector(".root");
  const add = (to, name, className, text) => {
    const node = document.createElement(name);
    node.className = className;
    if (text !== undefined) node.textContent = text;
    to.append(node);
    return node;
  };
  root.replaceChildren();
  if (data.src) {
    const image = add(root, "img", "");
    image.alt = data.title;
    image.src = data.src;
  } else {
    add(root, "div", "empty", "?");
  }
  const words = add(root, "div", "words");
  add(words, "h2", "", data.title);
  add(words, "p", "", data.line);
  const times = add(words, "div", "times");
  for (const [stage, spent] of data.times) {
    const chip = add(times, "span", "");
    add(chip, "b", "", stage);
    chip.append(` ${spent}`);
  }
}
