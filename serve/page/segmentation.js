// Segmentations: the drawn picture and a table of the classes that are there with their share of the picture.
const view = {
  verb: "outlines",
  title: "Areas",
  columns: [["Class", ""], ["Share", "number"], ["Pixels", "number"]],
  drawn: true,
  pictures: [
    { name: "drawn", title: "drawn picture", query: () => ({}) },
    { name: "mask", title: "mask", query: () => ({ picture: "mask" }) },
  ],
  classes: (labels) => labels.filter((_, id) => !isBackground(labels, id)),
  query: () => ({}),
  controls() {},
  shown: (answer) => answer,
  gist: (result) => `${found(result).length} of ${view.classes(result.class_names).length} found`,
  spoken: (result) => found(result).map(({ label, area }) => `${label} ${percent(area, result)}`).join(", ") || "nothing found",
  nothing: () => "",
  rows(result) {
    // What is not drawn has no colour and stands last.
    const rest = result.masks.filter(({ class_id }) => isBackground(result.class_names, class_id));
    return [...found(result), ...rest].map(({ class_id, label, area }) => {
      const hidden = isBackground(result.class_names, class_id), kind = hidden ? "soft" : "";
      return element("tr", {}, labelCell(hidden ? "" : colour(class_id), label, kind), numberCell(percent(area, result), kind), numberCell(area.toLocaleString("en"), kind));
    });
  },
};

// The same rule as in Python's results: a first class of this name is what remains.
function isBackground(labels, id) { return id === 0 && labels[0].toLowerCase() === "background"; }
function found(result) {
  return result.masks.filter(({ class_id }) => !isBackground(result.class_names, class_id)).sort((a, b) => b.area - a.area);
}
function percent(area, result) {
  const share = area / (result.image_size[0] * result.image_size[1]);
  return share < 0.0005 ? "<0.1 %" : `${(100 * share).toFixed(1)} %`;
}
