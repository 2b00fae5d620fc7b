/** What a JUnit report says. */

/** The result of a run of tests. */
export interface TestResult {
  readonly passed: number;
  readonly failed: number;
  /** The names of those that failed, `file: name`; an entry stands for the whole run where none can be named. */
  readonly failures: readonly string[];
}

/** Counts the test cases of a JUnit report; those skipped count as neither. */
export function readReport(xml: string): TestResult {
  let passed = 0;
  let file = "?";
  const failures: string[] = [];
  for (
    const [, suite, attributes = "", body = ""] of xml.matchAll(
      /<testsuite\b((?:"[^"]*"|[^">])*)>|<testcase\b((?:"[^"]*"|[^">/])*)(?:\/>|>([\s\S]*?)<\/testcase>)/g,
    )
  ) {
    if (suite !== undefined) file = attribute(suite, "name");
    else if (/<(failure|error)\b/.test(body)) failures.push(`${file}: ${attribute(attributes, "name")}`);
    else if (!/<skipped\b/.test(body)) passed++;
  }
  return { passed, failed: failures.length, failures };
}

/** Adds results up. */
export function sumOf(results: readonly TestResult[]): TestResult {
  return {
    passed: results.reduce((sum, { passed }) => sum + passed, 0),
    failed: results.reduce((sum, { failed }) => sum + failed, 0),
    failures: results.flatMap(({ failures }) => failures),
  };
}

function attribute(attributes: string, name: string): string {
  const [, value = "?"] = new RegExp(`\\b${name}="([^"]*)"`).exec(attributes) ?? [];
  return value.replaceAll("&quot;", '"').replaceAll("&lt;", "<").replaceAll("&gt;", ">")
    .replaceAll("&apos;", "'").replaceAll("&#39;", "'").replaceAll("&amp;", "&");
}
