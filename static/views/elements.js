/**
 * The element that the page is known to have; a page without it is broken, and says so at once.
 *
 * @template {Element} E
 * @param {ParentNode} root
 * @param {string} selector
 * @param {new () => E} kind
 * @returns {E}
 */
export function find(root, selector, kind) {
  const element = root.querySelector(selector);
  if (!(element instanceof kind)) throw new Error(`the page has no ${selector}`);
  return element;
}

/** Writing the same text again would still cost a layout. @param {Element} element @param {string} text */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/**
 * The same for what is written many times a second: does not ask the page what it shows.
 *
 * @param {Element} element
 * @returns {(text: string) => void}
 */
export function writer(element) {
  const node = document.createTextNode('');
  element.replaceChildren(node);
  let shown = '';
  return (text) => {
    if (text === shown) return;
    shown = text;
    node.data = text;
  };
}

/**
 * An element with attributes and children; `class`, `role` and the like as attributes, text as text.
 *
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} name
 * @param {Record<string, string>} [attributes]
 * @param {(Node | string)[]} children
 * @returns {HTMLElementTagNameMap[K]}
 */
export function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [attribute, value] of Object.entries(attributes)) element.setAttribute(attribute, value);
  element.append(...children);
  return element;
}

/** By their address. @type {Map<string, Promise<void>>} */
const styles = new Map();

/**
 * Puts a style sheet into the page, once, and resolves when it is there; or cannot be, which is no reason to show nothing:
 * then the next call tries again.
 *
 * @param {string} href
 * @returns {Promise<void>}
 */
export function loadStyle(href) {
  const style = styles.get(href) ?? new Promise((resolve) => {
    const link = make('link', { rel: 'stylesheet', href });
    link.onload = () => resolve();
    link.onerror = () => {
      link.remove();
      styles.delete(href);
      resolve();
    };
    document.head.append(link);
  });
  styles.set(href, style);
  return style;
}

/**
 * Radio buttons of one name as one choice.
 *
 * @param {ParentNode} root
 * @param {string} name
 * @param {(value: string) => void} chosen
 * @returns {(value: string) => void} shows another choice
 */
export function radios(root, name, chosen) {
  const inputs = /** @type {HTMLInputElement[]} */ ([...root.querySelectorAll(`input[name="${name}"]`)]);
  for (const input of inputs) input.addEventListener('change', () => chosen(input.value));
  return (value) => {
    for (const input of inputs) input.checked = input.value === value;
  };
}
