// 3D views: the meshes and points of a row turn together, seen by the camera of the row's photo; colours are chosen by section.

const STEP = 10; // degrees of an arrow key
let renderer = null; // one for all rows: browsers allow few WebGL contexts

function bytesOf(text) {
  return Uint8Array.from(atob(text), letter => letter.charCodeAt(0)).buffer;
}

// Positions of `count` points from their lowest corner and step at byte `at`; they take 16 + 6 * count bytes.
function positions(bytes, at, count) {
  const [x, y, z, step] = new Float32Array(bytes, at, 4);
  const stored = new Uint16Array(bytes, at + 16, 3 * count);
  return new THREE.BufferAttribute(Float32Array.from(stored, (value, i) => [x, y, z][i % 3] + value * step), 3);
}

// Colours of whole numbers below `levels`, interpolated between those of a section's legend; (3 * levels) linear values.
function colorTable(legend, levels) {
  const stops = legend.dataset.colors.split(" ").map(code => new THREE.Color(code));
  return Float32Array.from({ length: levels }, (_, i) => i / (levels - 1) * (stops.length - 1)).reduce((table, at) => {
    const low = Math.min(Math.floor(at), stops.length - 2);
    const color = stops[low].clone().lerp(stops[low + 1], at - low).convertSRGBToLinear();
    table.push(color.r, color.g, color.b);
    return table;
  }, []);
}

function colorsOf(values, table) {
  return new THREE.BufferAttribute(Float32Array.from({ length: 3 * values.length }, (_, i) => table[3 * values[Math.floor(i / 3)] + i % 3]), 3);
}

class MeshView {
  constructor(figure) {
    const bytes = bytesOf(figure.dataset.mesh), [vertices, faces] = new Uint32Array(bytes, 0, 2);
    const geometry = new THREE.BufferGeometry();
    geometry.setAttribute("position", positions(bytes, 8, vertices));
    geometry.setIndex(new THREE.BufferAttribute(new Uint16Array(bytes, 24 + 6 * vertices, 3 * faces), 1));
    const color = new THREE.Color(figure.dataset.color).convertSRGBToLinear();
    const material = new THREE.MeshPhongMaterial({ color, side: THREE.DoubleSide, flatShading: true, shininess: 0 });
    this.object = new THREE.Mesh(geometry, material);
    this.color = color;
    const start = 24 + 6 * vertices + 6 * faces;
    this.errors = bytes.byteLength > start ? new Uint8Array(bytes, start, vertices) : null;
  }

  recolor(mode, legend) {
    const { geometry, material } = this.object, byError = mode === "error" && this.errors !== null;
    if (byError) geometry.setAttribute("color", colorsOf(this.errors, colorTable(legend, 255)));
    material.color = byError ? new THREE.Color(0xffffff) : this.color;
    material.vertexColors = byError;
    material.needsUpdate = true;
  }
}

// Points that someone says are inside are large, the others small; who says so depends on the mode.
class PointsView {
  constructor(figure, size) {
    const bytes = bytesOf(figure.dataset.points), [count] = new Uint32Array(bytes, 0, 1);
    const values = [0, 1, 2].map(i => new Uint8Array(bytes, 20 + (6 + i) * count, count));
    [this.probability, this.outcome, this.predicted] = values;
    this.object = new THREE.Group();
    this.parts = [0.011, 0.025].map(part => {
      const geometry = new THREE.BufferGeometry();
      geometry.setAttribute("position", positions(bytes, 4, count));
      const look = { size: Math.max(1, part * size), sizeAttenuation: false, vertexColors: true, map: disc(), alphaTest: 0.5 };
      const points = new THREE.Points(geometry, new THREE.PointsMaterial(look));
      this.object.add(points);
      return points;
    });
  }

  recolor(mode, legend) {
    const [values, levels] = mode === "outcome" ? [this.outcome, legend.dataset.colors.split(" ").length] : [this.probability, 256];
    const inside = mode === "outcome" ? this.outcome : this.predicted;
    const colors = colorsOf(values, colorTable(legend, levels));
    this.parts.forEach(({ geometry }, large) => {
      geometry.setAttribute("color", colors);
      geometry.setIndex([...inside.keys()].filter(i => Boolean(inside[i]) === Boolean(large)));
    });
  }
}

let discTexture = null;

function disc() {
  if (discTexture) return discTexture;
  const canvas = document.createElement("canvas"), context = canvas.getContext("2d");
  canvas.width = canvas.height = 32;
  context.fillStyle = "#fff";
  context.arc(16, 16, 16, 0, 2 * Math.PI);
  context.fill();
  return discTexture = new THREE.CanvasTexture(canvas);
}

function makeCamera(view) {
  const camera = new THREE.PerspectiveCamera(view.fov, view.aspect, 0.01, 100);
  const position = new THREE.Vector3(...view.position);
  camera.position.copy(position);
  camera.up.set(...view.up);
  camera.lookAt(position.add(new THREE.Vector3(...view.forward)));
  const lamp = new THREE.DirectionalLight(0xffffff, 0.55);
  lamp.position.set(-0.6, 1, 0.8); // in the camera's frame, over the left shoulder, towards the shape at the origin
  camera.add(lamp);
  return camera;
}

class Row {
  constructor(element, coloring) {
    this.element = element;
    this.camera = makeCamera(JSON.parse(element.dataset.camera));
    this.right = new THREE.Vector3(1, 0, 0).applyQuaternion(this.camera.quaternion);
    this.scene = new THREE.Scene();
    this.scene.add(this.camera, new THREE.HemisphereLight(0xffffff, 0x9a9a9a, 0.3));
    this.views = [...element.querySelectorAll("[data-mesh], [data-points]")].map(figure => this.makeView(figure));
    this.fingers = new Map();
    this.listen();
    this.reset();
    coloring?.add(this);
  }

  makeView(figure) {
    const image = figure.querySelector("img"), canvas = document.createElement("canvas");
    const size = Math.round(image.clientWidth * Math.min(2, devicePixelRatio)) || 200;
    canvas.width = canvas.height = size;
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", image.alt);
    const view = figure.dataset.mesh ? new MeshView(figure) : new PointsView(figure, size);
    view.object.visible = false;
    this.scene.add(view.object);
    image.before(canvas);
    image.classList.add("still");
    return Object.assign(view, { canvas });
  }

  recolor(mode, legend) {
    for (const view of this.views) view.recolor(mode, legend);
    this.changed();
  }

  reset() {
    Object.assign(this, { yaw: 0, pitch: 0, zoom: 1 });
    this.changed();
  }

  turn(yaw, pitch) {
    this.yaw += yaw;
    this.pitch = Math.max(-180, Math.min(180, this.pitch + pitch));
    this.changed();
  }

  scale(factor) {
    this.zoom = Math.max(0.5, Math.min(8, this.zoom * factor));
    this.changed();
  }

  changed() {
    if (!this.waiting) this.waiting = requestAnimationFrame(() => this.draw());
  }

  draw() {
    this.waiting = 0;
    const turned = new THREE.Quaternion().setFromAxisAngle(this.right, THREE.MathUtils.degToRad(this.pitch));
    const upright = new THREE.Vector3(0, 1, 0);
    turned.multiply(new THREE.Quaternion().setFromAxisAngle(upright, THREE.MathUtils.degToRad(this.yaw)));
    this.camera.zoom = this.zoom;
    this.camera.updateProjectionMatrix();
    for (const { canvas, object } of this.views) {
      object.quaternion.copy(turned);
      renderer.setSize(canvas.width, canvas.height, false);
      object.visible = true;
      renderer.render(this.scene, this.camera);
      object.visible = false;
      canvas.getContext("2d").drawImage(renderer.domElement, 0, 0);
    }
  }

  listen() {
    this.element.tabIndex = 0;
    this.element.setAttribute("role", "group");
    this.element.addEventListener("keydown", event => this.onKey(event));
    for (const { canvas } of this.views) {
      canvas.addEventListener("pointerdown", event => this.onDown(event));
      canvas.addEventListener("pointermove", event => this.onMove(event));
      for (const kind of ["pointerup", "pointercancel"])
        canvas.addEventListener(kind, event => this.fingers.delete(event.pointerId));
      canvas.addEventListener("dblclick", () => this.reset());
    }
  }

  onKey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const action = {
      ArrowLeft: () => this.turn(-STEP, 0),
      ArrowRight: () => this.turn(STEP, 0),
      ArrowUp: () => this.turn(0, -STEP),
      ArrowDown: () => this.turn(0, STEP),
      "+": () => this.scale(1.25),
      "-": () => this.scale(0.8),
      0: () => this.reset(),
    }[event.key];
    if (!action) return;
    event.preventDefault();
    action();
  }

  onDown(event) {
    event.target.setPointerCapture(event.pointerId);
    this.fingers.set(event.pointerId, [event.clientX, event.clientY]);
  }

  // One finger or the mouse turns; two fingers turn by their middle and zoom by their distance.
  onMove(event) {
    const before = this.fingers.get(event.pointerId);
    if (!before) return;
    const after = [event.clientX, event.clientY];
    const others = [...this.fingers].filter(([id]) => id !== event.pointerId).map(([, place]) => place);
    if (others.length) {
      const distance = place => Math.hypot(place[0] - others[0][0], place[1] - others[0][1]);
      if (distance(before) > 0) this.scale(distance(after) / distance(before));
    }
    const degrees = 180 / event.target.clientWidth / (1 + others.length);
    this.turn(degrees * (after[0] - before[0]), degrees * (after[1] - before[1]));
    this.fingers.set(event.pointerId, after);
  }
}

// The choice of a section's colours; its rows follow.
class Coloring {
  constructor(tools) {
    this.select = tools.querySelector("select");
    this.legends = [...tools.querySelectorAll(".legend")];
    this.rows = [];
    this.select.onchange = () => this.choose();
    tools.hidden = false;
    this.choose();
  }

  get legend() {
    return this.legends.find(legend => legend.dataset.mode === this.select.value);
  }

  add(row) {
    this.rows.push(row);
    row.recolor(this.select.value, this.legend);
  }

  choose() {
    for (const legend of this.legends) legend.hidden = legend !== this.legend;
    for (const row of this.rows) row.recolor(this.select.value, this.legend);
  }
}

function startViewer() {
  const elements = document.querySelectorAll("[data-camera]");
  const test = document.createElement("canvas");
  if (!elements.length || !(test.getContext("webgl2") || test.getContext("webgl"))) return; // the images stay
  renderer = new THREE.WebGLRenderer({ antialias: true, preserveDrawingBuffer: true });
  renderer.setClearColor(0xffffff);
  renderer.outputEncoding = THREE.sRGBEncoding;
  const colorings = new Map();
  for (const tools of document.querySelectorAll(".coloring")) colorings.set(tools.closest("section"), new Coloring(tools));
  const seen = new IntersectionObserver(entries => {
    for (const { isIntersecting, target } of entries)
      if (isIntersecting) {
        seen.unobserve(target);
        new Row(target, colorings.get(target.closest("section")));
      }
  }, { rootMargin: "200px" });
  elements.forEach(element => seen.observe(element));
  for (const hint of document.querySelectorAll(".hint")) hint.hidden = false;
}

startViewer();
