export default function ({ data, parentElement, setTriggerValue }) {
  const root = parentElement.querySelector(".root");
  const words = document.createElement("span");
  const keys = navigator.platform.startsWith("Mac") ? "⌘V" : "Ctrl+V";
  const touched = matchMedia("(pointer: coarse)").matches;
  const readable = Boolean(navigator.clipboard?.read);
  words.textContent = `or paste an image with ${keys}`;
  if (touched) words.textContent = readable ? "or paste an image" : "";
  root.replaceChildren(words);

  const send = (file) => {
    if (file.size > data.max) {
      setTriggerValue("image", "too large");
      return;
    }
    const reader = new FileReader();
    reader.onload = () => setTriggerValue("image", reader.result);
    reader.readAsDataURL(file);
  };

  const paste = (event) => {
    const file = [...(event.clipboardData?.files ?? [])].find((item) => item.type.startsWith("image/"));
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
          const type = item.types.find((name) => name.startsWith("image/"));
          if (type) return send(await item.getType(type));
        }
        words.textContent = "the clipboard holds no image";
      } catch {
        words.textContent = "the browser does not allow this page to read the clipboard";
      }
    };
    root.append(button);
  }
  return () => document.removeEventListener("paste", paste);
}
