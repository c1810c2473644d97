/** What stands under one name: a file, a folder, or both where one layer says both. */
interface Node<T> {
  file?: T;
  readonly below: Map<string, Node<T>>;
}

/**
 * Files by path. What a step costs depends on the parts of its path, not on how many files there are:
 * thousands of layers are laid on each other, and who made them chose their paths.
 */
export class FileTree<T> {
  readonly #root: Node<T> = { below: new Map() };

  set(path: string, file: T): void {
    let node = this.#root;
    for (const part of path.split("/")) {
      let next = node.below.get(part);
      if (!next) node.below.set(part, next = { below: new Map() });
      node = next;
    }
    node.file = file;
  }

  /** Makes room for a file: takes away files where its folders will be, and the folder of its name. */
  clear(path: string): void {
    let node: Node<T> | undefined = this.#root;
    for (const part of path.split("/")) {
      node = node.below.get(part);
      if (!node) return;
      node.file = undefined;
    }
    node.below.clear();
  }

  /** Takes away a file or a folder with all in it. */
  remove(path: string): void {
    const node = this.#find(path);
    if (!node) return;
    node.file = undefined;
    node.below.clear();
  }

  /** Takes away all that is in a folder; `""` is the root. */
  empty(folder: string): void {
    this.#find(folder)?.below.clear();
  }

  /** In no order. */
  *files(): Generator<T> {
    // A stack of its own: paths may have more parts than calls can be nested.
    const open = [this.#root];
    for (let node; (node = open.pop());) {
      if (node.file !== undefined) yield node.file;
      for (const next of node.below.values()) open.push(next);
    }
  }

  #find(path: string): Node<T> | undefined {
    let node: Node<T> | undefined = this.#root;
    for (const part of path === "" ? [] : path.split("/")) node = node?.below.get(part);
    return node;
  }
}
