import { Command } from "@commander-js/extra-typings";
import type { NodeSchema } from "../../schema/tree.ts";
import { type Context, prepare } from "../context.ts";
import { withLogAndEnvironment, withSchemaFile } from "../option_groups.ts";

/** `pgsync validate`: check the schema file by itself, without any server. */
export function validateCommand(context: Context) {
  const command = withSchemaFile(
    new Command("validate")
      .description("check the schema file, without asking any server"),
  );
  return withLogAndEnvironment(command)
    .action(async (flags) => {
      const environment = await prepare(context, flags);
      const [{ schemaSource }, { readSchema }] = await Promise.all([
        import("../run_settings.ts"),
        import("../run_options.ts"),
      ]);
      const schema = await readSchema(schemaSource(flags, environment), environment);
      const lines = schema.documents.map(({ database, index, root }) =>
        `  ${database} → ${index}: ${plural(countNodes(root), "node")}, root ${root.schema}.${root.table}`
      );
      const warnings = schema.warnings.length === 0 ? "" : `, ${plural(schema.warnings.length, "warning")}`;
      const head = `${schema.source}: valid, ${plural(schema.documents.length, "document")}${warnings}`;
      await context.output.write(`${[head, ...lines].join("\n")}\n`);
    });
}

function countNodes(node: NodeSchema): number {
  return node.children.reduce((sum, child) => sum + countNodes(child), 1);
}

function plural(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? "" : "s"}`;
}
