export default function ({ data, parentElement, setTriggerValue }) {
  const root = parentElement.querySelector(".root");
  const words = document.createElement("span");
  const keys = navigator.platform.startsWith("Mac") ? "⌘V" : "Ctrl+V";
  const touched = matchMedia("(pointer: coarse)").matches;
  const readable = Boolean(navigator.clipboard?.read);
  words.textContent = `or paste one with ${keys}, anywhere on this page`;
  if (touched) words.textContent = readable ? "or paste one" : "";
  root.replaceChildren(words);

  const send = (file) => {
    if (file.size > data.max) {
      setTriggerValue("picture", "too large");
      return;
    }
    const reader = new FileReader();
    reader.onload = () => setTriggerValue("picture", reader.result);
    reader.readAsDataURL(file);
  };

  const paste = (event) => {
    const file = [...(event.clipboardData?.files ?? [])].find((one) => one.type.startsWith("image/"));
    if (!file) return;
    event.preventDefault();
    send(file);
  };
  document.addEventListener("paste", paste);

  if (readable) {
    const button = document.createElement("button");
    button.className = "quiet";
    button.textContent = "Paste";
    button.onclick = async () => {
      try {
        for (const item of await navigator.clipboard.read()) {
          const type = item.types.find((one) => one.startsWith("image/"));
          if (type) return send(await item.getType(type));
        }
        words.textContent = "there is no picture in the clipboard";
      } catch {
        words.textContent = "the browser did not let this page read the clipboard";
      }
    };
    root.append(button);
  }
  return () => document.removeEventListener("paste", paste);
}
