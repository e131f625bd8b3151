export default function ({ data, parentElement }) {
  const list = make("dl");
  for (const [name, value] of data.rows) list.append(make("dt", "", name), make("dd", "", value));
  parentElement.querySelector(".root").replaceChildren(list);
}
