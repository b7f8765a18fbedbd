// Diagrams: the value under the pointer, or, by arrow keys, of one point after the other; with its image where there is one.

const NEAR = 40; // pixels

function pointsOf({ panels }) {
  return panels.flatMap(panel => {
    const [left, top, width, height] = panel.box, [x0, x1, y0, y1] = panel.limits;
    return panel.series.map(series => series.x.map((x, i) => ({
      panel, series, i,
      left: left + width * (x - x0) / (x1 - x0),
      top: top + height * (1 - (series.y[i] - y0) / (y1 - y0)),
    })));
  }).filter(points => points.length);
}

function describe({ panel, series, i }) {
  if (series.labels.length) return `${series.name}: ${series.labels[i]}`;
  const short = value => String(+value.toPrecision(4));
  return `${series.name}: ${panel.title} ${short(series.y[i])} at ${panel.x_label} ${short(series.x[i])}`;
}

class Plot {
  constructor(element) {
    this.element = element;
    this.series = pointsOf(JSON.parse(element.dataset.plot));
    this.place = [0, -1]; // series, point
    this.mark = document.createElement("i");
    this.label = document.createElement("div");
    this.mark.className = "mark";
    this.label.className = "reading";
    this.label.setAttribute("role", "status");
    this.mark.hidden = this.label.hidden = true;
    element.append(this.mark, this.label);
    element.tabIndex = 0;
    for (const kind of ["pointermove", "pointerdown"])
      element.addEventListener(kind, event => this.point(event));
    for (const kind of ["pointerleave", "blur"]) element.addEventListener(kind, () => this.show(null));
    element.addEventListener("keydown", event => this.onKey(event));
  }

  point(event) {
    const box = this.element.getBoundingClientRect();
    let best = null, least = NEAR;
    this.series.forEach((points, s) => points.forEach((point, i) => {
      const distance = Math.hypot(
        box.x + point.left / 100 * box.width - event.clientX,
        box.y + point.top / 100 * box.height - event.clientY);
      if (distance < least) [best, least] = [[s, i], distance];
    }));
    this.show(best);
  }

  onKey(event) {
    const move = { ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0] }[event.key];
    if (!move || !this.series.length) return;
    event.preventDefault();
    const series = (this.place[0] + move[0] + this.series.length) % this.series.length;
    const last = this.series[series].length - 1;
    this.show([series, Math.max(0, Math.min(last, this.place[1] + move[1]))]);
  }

  show(place) {
    this.mark.hidden = this.label.hidden = !place;
    if (!place) return;
    this.place = place;
    const point = this.series[place[0]][place[1]];
    this.label.textContent = describe(point);
    const photo = document.querySelector("template.photos")?.content.children[point.series.photos[point.i]];
    if (photo) this.label.prepend(photo.cloneNode());
    this.mark.style.left = `${point.left}%`;
    this.mark.style.top = `${point.top}%`;
    this.mark.style.background = point.series.color;
    this.label.style.top = `calc(${point.top}% + 12px)`;
    const right = point.left > 50;
    this.label.style.left = right ? "auto" : `${point.left}%`;
    this.label.style.right = right ? `${100 - point.left}%` : "auto";
  }
}

document.querySelectorAll("[data-plot]").forEach(element => new Plot(element));
