// Checkboxes for the values of a field, with the number of images of each; long lists can be searched.
const SHOWN = 6;

export default function ({ data, parentElement, setTriggerValue }) {
  const root = parentElement.querySelector(".root");
  const before = root.querySelector("input[type=search]")?.value ?? "";
  const open = root.querySelector("details")?.open ?? data.chosen.length > 0;
  const fold = make("details");
  fold.open = open;
  const chosen = new Set(data.chosen);
  const summary = make("summary", "", data.field);
  if (chosen.size) summary.append(make("span", "count", `Selected (${chosen.size})`));
  const list = make("div", "values");
  const search = make("input", "find");
  search.type = "search";
  search.placeholder = "Find a value";
  search.ariaLabel = `Find a value of ${data.field}`;
  search.value = before;

  const row = ([value, count]) => {
    const label = make("label");
    const box = make("input");
    box.type = "checkbox";
    box.checked = chosen.has(value);
    box.onchange = () => {
      chosen[box.checked ? "add" : "delete"](value);
      setTriggerValue("chosen", [...chosen]);
    };
    label.append(box, make("span", "value", value), make("span", "count", count.toLocaleString("en")));
    return label;
  };
  const fill = () => {
    const text = search.value.trim().toLowerCase();
    const found = data.values.filter(([value]) => chosen.has(value) || value.toLowerCase().includes(text));
    found.sort(([first], [second]) => chosen.has(second) - chosen.has(first));
    const limit = text ? 50 : Math.max(SHOWN, chosen.size);
    list.replaceChildren(...found.slice(0, limit).map(row));
    if (found.length > limit) list.append(make("span", "rest", `and ${(found.length - limit).toLocaleString("en")} more`));
    if (data.cut) list.append(make("span", "rest", `only the ${data.values.length} most frequent values are listed`));
    else if (!found.length) list.append(make("span", "rest", "none"));
  };
  search.oninput = fill;
  search.onkeydown = (event) => event.stopPropagation();
  fill();
  fold.append(summary);
  if (data.values.length > SHOWN) fold.append(search);
  fold.append(list);
  root.replaceChildren(fold);
}
