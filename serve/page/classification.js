// Classifications: the drawn picture, a table of the classes with a bar for each probability, and a switch for the
// heat map of the evidence where the bundle has one.
const MOST = 100;  // rows; the JSON has all classes
const evidence = { on: false };

const view = {
  verb: "tells apart",
  title: "Classes",
  columns: [["Class", ""], ["Probability", "number"]],
  drawn: true,
  pictures: [{ name: "drawn", title: "drawn picture", query: () => evidence.on ? { explain: true } : {} }],
  classes: (labels) => labels,
  query: () => ({}),
  controls(meta) {
    if (!meta.explain) return;
    const box = element("input", { type: "checkbox", id: "evidence", checked: evidence.on });
    box.addEventListener("change", () => { evidence.on = box.checked; redraw(); });
    $("controls").replaceChildren(
      element("label", { className: "choice" }, box, element("strong", { textContent: "Show evidence" })),
      element("p", { className: "soft small", textContent: "A heat map of where the evidence for the likeliest class lies: light is much, dark is none." }));
  },
  shown: (answer) => answer,
  gist: (result) => result.abstained ? result.reason : `${result.label}, ${result.score.toFixed(2)}${result.bin ? ` → ${result.bin}` : ""}`,
  spoken: (result) => result.abstained ? result.reason : `${result.label}, probability ${result.score.toFixed(2)}${evidence.on ? ", with a heat map of the evidence" : ""}`,
  nothing: () => "",
  rows(result) {
    const order = result.probabilities.map((_, id) => id).sort((a, b) => result.probabilities[b] - result.probabilities[a] || a - b);
    return order.slice(0, MOST).map((id) => {
      const named = labelCell(colour(id), result.class_names[id]);
      named.append(bar(result.probabilities[id], colour(id)));
      return element("tr", {}, named, numberCell(result.probabilities[id].toFixed(3)));
    });
  },
};

function bar(share, tint) {
  const filled = element("span");
  filled.style.cssText = `width: ${100 * share}%; background: ${tint}`;
  return element("div", { className: "bar" }, filled);
}
