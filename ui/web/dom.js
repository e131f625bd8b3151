// Shared by all components. Text is inserted as text, never as HTML: a file may be called <b>.
function make(name, className, text) {
  const node = document.createElement(name);
  if (className) node.className = className;
  if (text !== undefined && text !== null) node.textContent = text;
  return node;
}

function imageNode(src, alt) {
  if (!src) return make("div", "no-image", "no image");
  const image = make("img");
  image.alt = alt;
  image.src = src;
  image.decoding = "async";
  return image;
}

function button(className, text, label, act) {
  const node = make("button", className, text);
  node.type = "button";
  if (label && label !== text) {
    node.ariaLabel = label;
    node.title = label;
  }
  node.onclick = act;
  return node;
}

const CROP_ICON = "M6 2v4H2v2h4v10a2 2 0 0 0 2 2h10v4h2v-4h2v-2H8V2zM10 6v2h8v8h2V8a2 2 0 0 0-2-2z";

function icon(path) {
  const namespace = "http://www.w3.org/2000/svg";
  const node = document.createElementNS(namespace, "svg");
  const shape = document.createElementNS(namespace, "path");
  node.setAttribute("viewBox", "0 0 24 24");
  node.setAttribute("aria-hidden", "true");
  shape.setAttribute("d", path);
  node.append(shape);
  return node;
}

// A modal window with a button to close it; Escape or a click outside of it closes it, too.
function modal(root, heading) {
  const node = make("dialog");
  node.ariaLabel = heading;
  const close = button("close", "×", "Close", () => node.close());
  node.append(close);
  node.addEventListener("click", (event) => {
    if (event.target === node) node.close();
  });
  node.addEventListener("close", () => node.remove());
  root.append(node);
  return node;
}
