export default function ({ data, parentElement }) {
  const list = document.createElement("dl");
  for (const row of data.rows) {
    row.forEach((text, column) => {
      const cell = document.createElement(column ? "dd" : "dt");
      cell.textContent = text;
      list.append(cell);
    });
  }
  parentElement.querySelector(".root").replaceChildren(list);
}
