/** Things of one kind that are listed, made, changed and deleted alike: a table and a form of their members. */
import { useState } from "preact/hooks";
import { ask } from "../api/http";
import { Deletion, FormDialog } from "../ui/dialog";
import { Shown, useLoaded } from "../ui/loaded";
import { type RecordColumn, Records } from "../ui/records";
import { say } from "../ui/toast";
import { type Capabilities, CapabilityMatrix, NamedCapabilities, type Scope } from "./capability-fields";

export type ResourceRecord = Record<string, unknown> & { id: string };

export interface Member {
  name: string;
  title: string;
  /** text; area: of several lines; list: with commas between; capabilities, or a map of them by name: by boxes */
  kind: "text" | "area" | "list" | "capabilities" | "namedCapabilities";
  /** of capabilities */
  scope?: Scope;
  hint?: string;
  /** of a new one */
  initial?: string;
  required?: boolean;
}

export interface Resource {
  /** such as "view" */
  noun: string;
  path: string;
  /** of the list, where that differs */
  listPath?: string;
  /** whether the session may do an action with them: create, update, delete */
  may: (action: string) => boolean;
  members: Member[];
  columns: RecordColumn<ResourceRecord>[];
  empty: string;
  /** what deleting one means */
  deletion: string;
}

export function ResourceSettings({ resource }: { resource: Resource }) {
  const { may, noun, path } = resource;
  const listed = useLoaded(() => ask<ResourceRecord[]>(resource.listPath ?? path), [path]);
  const [opened, setOpened] = useState<ResourceRecord | "new" | null>(null);
  const [deleting, setDeleting] = useState<ResourceRecord | null>(null);
  const done = (word: string) => {
    setOpened(null);
    listed.reload();
    say(word);
  };
  const pathOf = (record: ResourceRecord) => `${path}/${encodeURIComponent(record.id)}`;
  return (
    <>
      {may("create") && (
        <div class="row">
          <button type="button" class="button primary" onClick={() => setOpened("new")}>
            New {noun}
          </button>
        </div>
      )}
      <Shown of={listed}>
        {(found) => (
          <Records
            records={found}
            id={(record) => record.id}
            empty={resource.empty}
            columns={[
              ...resource.columns,
              {
                title: "",
                right: true,
                cell: (record) => (
                  <span class="row">
                    {may("update") && (
                      <button type="button" class="button small" onClick={() => setOpened(record)}>
                        Edit
                      </button>
                    )}
                    {may("delete") && (
                      <button type="button" class="button small danger" onClick={() => setDeleting(record)}>
                        Delete
                      </button>
                    )}
                  </span>
                ),
              },
            ]}
          />
        )}
      </Shown>
      {opened && (
        <ResourceForm
          resource={resource}
          before={opened === "new" ? null : opened}
          onClose={() => setOpened(null)}
          onSubmit={async (body) => {
            if (opened === "new") await ask(path, { method: "POST", body });
            else await ask(pathOf(opened), { method: "PUT", body });
            done("Saved");
          }}
        />
      )}
      {deleting && (
        <Deletion
          title={`Delete the ${noun} ${String(deleting.name ?? deleting.title ?? deleting.id)}`}
          path={pathOf(deleting)}
          onDone={listed.reload}
          onClose={() => setDeleting(null)}
        >
          {resource.deletion}
        </Deletion>
      )}
    </>
  );
}

interface ResourceFormProps {
  resource: Resource;
  /** null for a new one */
  before: ResourceRecord | null;
  onSubmit: (body: Record<string, unknown>) => Promise<void>;
  onClose: () => void;
}

function ResourceForm({ resource, before, onSubmit, onClose }: ResourceFormProps) {
  const [texts, setTexts] = useState<Record<string, string>>(() =>
    Object.fromEntries(resource.members.map((member) => [member.name, textOf(member, before)])),
  );
  const faults = resource.members.filter((member) => !isSound(member, texts[member.name] ?? ""));
  return (
    <FormDialog
      title={before ? `Edit the ${resource.noun}` : `New ${resource.noun}`}
      action="Save"
      disabled={faults.length > 0}
      onClose={onClose}
      onSubmit={() =>
        onSubmit(
          Object.fromEntries(
            resource.members.map((member) => [member.name, memberValue(member, texts[member.name] ?? "")]),
          ),
        )
      }
    >
      {resource.members.map((member) => (
        <MemberField
          key={member.name}
          member={member}
          text={texts[member.name] ?? ""}
          onChange={(text) => setTexts((before) => ({ ...before, [member.name]: text }))}
        />
      ))}
    </FormDialog>
  );
}

interface MemberFieldProps {
  member: Member;
  text: string;
  onChange: (text: string) => void;
}

function MemberField({ member, text, onChange }: MemberFieldProps) {
  const id = `member-${member.name}`;
  if (isJson(member))
    return (
      <fieldset class="member">
        <legend>{member.title}</legend>
        {member.kind === "capabilities" ? (
          <CapabilityMatrix
            scope={member.scope ?? "organisation"}
            title={member.title}
            value={JSON.parse(text) as Capabilities}
            onChange={(value) => onChange(JSON.stringify(value))}
          />
        ) : (
          <NamedCapabilities
            scope={member.scope === "view" ? "view" : "dataset"}
            value={JSON.parse(text) as Record<string, Capabilities>}
            onChange={(value) => onChange(JSON.stringify(value))}
          />
        )}
      </fieldset>
    );
  const common = {
    id,
    value: text,
    onInput: (event: { currentTarget: { value: string } }) => onChange(event.currentTarget.value),
  };
  return (
    <label htmlFor={id}>
      {member.title}
      {member.hint && <span class="hint">{member.hint}</span>}
      {member.kind === "area" ? (
        <textarea class="input mono" rows={4} spellcheck={false} {...common} />
      ) : (
        <input class="input" {...common} />
      )}
    </label>
  );
}

function isJson({ kind }: Member): boolean {
  return kind === "capabilities" || kind === "namedCapabilities";
}

function textOf(member: Member, before: ResourceRecord | null): string {
  const value = before?.[member.name];
  if (before === null || value === undefined || value === null) return member.initial ?? (isJson(member) ? "{}" : "");
  if (isJson(member)) return JSON.stringify(value);
  return Array.isArray(value) ? value.join(", ") : String(value);
}

/** Return the value of a text as the API takes it. */
export function memberValue(member: Member, text: string): unknown {
  if (isJson(member)) return JSON.parse(text) as unknown;
  if (member.kind !== "list") return text.trim();
  return text
    .split(",")
    .map((each) => each.trim())
    .filter(Boolean);
}

/** Whether a text can be a member's. */
export function isSound(member: Member, text: string): boolean {
  return !member.required || text.trim() !== "";
}
