// Meshes of the examples: the meshes of a row turn together, seen by the camera of the row's photo.

const STEP = 10; // degrees of an arrow key
let renderer = null; // one for all rows: browsers allow few WebGL contexts

function decodeMesh(text) {
  const bytes = Uint8Array.from(atob(text), letter => letter.charCodeAt(0)).buffer;
  const [vertices, faces] = new Uint32Array(bytes, 0, 2);
  const [x, y, z, step] = new Float32Array(bytes, 8, 4);
  const stored = new Uint16Array(bytes, 24, 3 * vertices);
  const indices = new Uint16Array(bytes, 24 + 6 * vertices, 3 * faces);
  const position = Float32Array.from(stored, (value, i) => [x, y, z][i % 3] + value * step);
  const geometry = new THREE.BufferGeometry();
  geometry.setAttribute("position", new THREE.BufferAttribute(position, 3));
  geometry.setIndex(new THREE.BufferAttribute(indices, 1));
  return geometry;
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
  constructor(element) {
    this.element = element;
    this.camera = makeCamera(JSON.parse(element.dataset.camera));
    this.right = new THREE.Vector3(1, 0, 0).applyQuaternion(this.camera.quaternion);
    this.scene = new THREE.Scene();
    this.scene.add(this.camera, new THREE.HemisphereLight(0xffffff, 0x9a9a9a, 0.3));
    this.views = [...element.querySelectorAll("[data-mesh]")].map(figure => this.makeView(figure));
    this.fingers = new Map();
    this.listen();
    this.reset();
  }

  makeView(figure) {
    const image = figure.querySelector("img"), canvas = document.createElement("canvas");
    const size = Math.round(image.clientWidth * Math.min(2, devicePixelRatio)) || 200;
    canvas.width = canvas.height = size;
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", image.alt);
    const color = new THREE.Color(figure.dataset.color).convertSRGBToLinear();
    const material = new THREE.MeshPhongMaterial({ color, side: THREE.DoubleSide, flatShading: true, shininess: 0 });
    const mesh = new THREE.Mesh(decodeMesh(figure.dataset.mesh), material);
    mesh.visible = false;
    this.scene.add(mesh);
    image.before(canvas);
    image.classList.add("still");
    return { canvas, mesh };
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
    for (const { canvas, mesh } of this.views) {
      mesh.quaternion.copy(turned);
      renderer.setSize(canvas.width, canvas.height, false);
      mesh.visible = true;
      renderer.render(this.scene, this.camera);
      mesh.visible = false;
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

function startViewer() {
  const elements = document.querySelectorAll("[data-camera]");
  const test = document.createElement("canvas");
  if (!elements.length || !(test.getContext("webgl2") || test.getContext("webgl"))) return; // the images stay
  renderer = new THREE.WebGLRenderer({ antialias: true, preserveDrawingBuffer: true });
  renderer.setClearColor(0xffffff);
  renderer.outputEncoding = THREE.sRGBEncoding;
  const seen = new IntersectionObserver(entries => {
    for (const { isIntersecting, target } of entries)
      if (isIntersecting) {
        seen.unobserve(target);
        new Row(target);
      }
  }, { rootMargin: "200px" });
  elements.forEach(element => seen.observe(element));
  for (const hint of document.querySelectorAll(".hint")) hint.hidden = false;
}

startViewer();
