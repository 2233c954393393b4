// What a person decides about groups of copies, each step with its way back.

export class Decisions {
  constructor() { this.going = new Map(); this.steps = []; }

  // The images of a group that go: as decided, else as suggested.
  of(group) {
    return this.going.get(group.number)?.ids ?? suggested(group);
  }

  isGoing(group, id) { return this.of(group).has(id); }

  // An image goes or stays; of a group one always stays.
  toggle(group, id) {
    const ids = new Set(this.of(group));
    if (!ids.delete(id)) ids.add(id);
    return ids.size < group.members.length && this.set(group, ids);
  }

  keepOnly(group, id) {
    return this.set(group, new Set(group.members.map((member) => member.id).filter((other) => other !== id)));
  }

  set(group, ids) {
    this.steps.push({ kind: "set", number: group.number, before: this.going.get(group.number) });
    const [files, bytes] = totals(group, ids), [usualFiles, usualBytes] = totals(group, suggested(group));
    this.going.set(group.number, { ids, files: files - usualFiles, bytes: bytes - usualBytes });
    return true;
  }

  remember(step) { this.steps.push(step); }

  // The last step, taken back where it was one of this page alone.
  undo() {
    const step = this.steps.pop();
    if (step?.kind === "set") {
      if (step.before) this.going.set(step.number, step.before);
      else this.going.delete(step.number);
    }
    return step;
  }

  forget(number) { this.going.delete(number); }

  // How many files and bytes go, of all open groups.
  total({ extras, extra_bytes: bytes }) {
    const changed = [...this.going.values()];
    return [changed.reduce((sum, one) => sum + one.files, extras), changed.reduce((sum, one) => sum + one.bytes, bytes)];
  }

  toJson() {
    return [...this.going].map(([group, { ids }]) => ({ group, trash: [...ids] }));
  }
}

const suggested = (group) => new Set(group.members.filter((member) => member.suggestion === "extra").map((member) => member.id));

function totals(group, ids) {
  const members = group.members.filter((member) => ids.has(member.id));
  return [members.length, members.reduce((sum, member) => sum + member.bytes, 0)];
}
