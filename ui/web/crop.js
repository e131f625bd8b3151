// A window to choose a part of an image by drawing a box, or with the arrow keys (Shift changes the size).
const SMALLEST = 5;

function cropWindow(root, example, done) {
  const node = modal(root, `Search by a part of ${example.title}`);
  node.classList.add("cropping");
  const [left, top, right, bottom] = example.crop ?? [15, 15, 85, 85];
  let box = { left, top, right, bottom };
  const frame = make("div", "cropframe");
  const image = imageNode(example.preview, example.title);
  image.draggable = false;
  const part = make("div", "part");
  part.tabIndex = 0;
  part.setAttribute("role", "application");
  frame.append(image, part);

  const show = (next) => {
    const inside = (value, low, high) => Math.round(Math.min(high, Math.max(low, value)));
    box = {
      left: inside(next.left, 0, 100 - SMALLEST),
      top: inside(next.top, 0, 100 - SMALLEST),
      right: 0,
      bottom: 0,
    };
    box.right = inside(next.right, box.left + SMALLEST, 100);
    box.bottom = inside(next.bottom, box.top + SMALLEST, 100);
    part.style.cssText = `left:${box.left}%;top:${box.top}%;width:${box.right - box.left}%;height:${box.bottom - box.top}%`;
    part.ariaLabel =
      `The part from ${box.left} to ${box.right} percent of the width and ${box.top} to ${box.bottom} percent of the height.` +
      " Arrow keys move it, with Shift they change its size.";
  };
  show(box);

  part.onkeydown = (event) => {
    const step = { ArrowLeft: [-2, 0], ArrowRight: [2, 0], ArrowUp: [0, -2], ArrowDown: [0, 2] }[event.key];
    if (!step) return;
    event.preventDefault();
    const [across, down] = step;
    if (event.shiftKey) {
      show({ ...box, right: box.right + across, bottom: box.bottom + down });
    } else if (box.left + across >= 0 && box.right + across <= 100 && box.top + down >= 0 && box.bottom + down <= 100) {
      show({ left: box.left + across, right: box.right + across, top: box.top + down, bottom: box.bottom + down });
    }
  };
  frame.onpointerdown = (event) => {
    event.preventDefault();
    frame.setPointerCapture(event.pointerId);
    const area = frame.getBoundingClientRect();
    const position = (moved) => [
      ((moved.clientX - area.left) / area.width) * 100,
      ((moved.clientY - area.top) / area.height) * 100,
    ];
    const [x, y] = position(event);
    frame.onpointermove = (moved) => {
      const [toX, toY] = position(moved);
      show({ left: Math.min(x, toX), right: Math.max(x, toX), top: Math.min(y, toY), bottom: Math.max(y, toY) });
    };
    frame.onpointerup = () => {
      frame.onpointermove = null;
    };
  };

  const finish = (result) => {
    node.close();
    done(result);
  };
  const actions = make("div", "actions");
  actions.append(
    button("primary", "Search by this part", "", () => finish([box.left, box.top, box.right, box.bottom])),
    button("quiet", "Whole image", "", () => finish(null)),
  );
  node.append(make("h3", "", "Choose a part"), make("p", "", "Draw a box, or move it with the arrow keys (with Shift, they change its size)."), frame, actions);
  node.showModal();
  part.focus();
}
