// JDBC: PostgreSQL's own driver for Java. Server-side prepared statements, binary transfer, batches,
// fetch sizes, CopyManager, query timeouts that cancel.

import java.io.StringReader;
import java.io.StringWriter;
import java.sql.*;
import java.time.LocalDate;
import java.time.OffsetDateTime;
import java.time.ZoneOffset;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.TreeSet;
import java.util.UUID;
import org.postgresql.PGConnection;
import org.postgresql.util.PSQLException;

public class Matrix {
    static final String LONG = "SELECT count(*) FROM generate_series(1, 20000000000)";
    static final int PATIENCE = 1;

    static String held(Object id, String decision) {
        return "UPDATE accounts SET balance = balance + 1 WHERE id = " + id + " /* " + decision + " */";
    }

    static Connection connect(String... more) throws SQLException {
        Properties p = new Properties();
        p.setProperty("user", System.getenv("WEIR_USER"));
        p.setProperty("password", System.getenv("WEIR_PASSWORD"));
        p.setProperty("sslmode", "verify-full");
        p.setProperty("sslrootcert", System.getenv("WEIR_CA"));
        // Shorter than a hold with its heartbeats, longer than one heartbeat.
        p.setProperty("socketTimeout", "30");
        for (int i = 0; i < more.length; i += 2) p.setProperty(more[i], more[i + 1]);
        return DriverManager.getConnection("jdbc:postgresql://" + System.getenv("WEIR_HOST") + ":"
            + System.getenv("WEIR_PORT") + "/" + System.getenv("WEIR_DATABASE"), p);
    }

    static void say(Object... values) {
        List<String> words = new ArrayList<>();
        for (Object v : values) words.add(show(v));
        System.out.println(String.join(" ", words));
    }

    static String show(Object v) {
        try {
            if (v instanceof int[]) return Arrays.toString((int[]) v);
            if (v instanceof byte[]) return Arrays.toString((byte[]) v);
            if (v instanceof java.sql.Array) return show(((java.sql.Array) v).getArray());
        } catch (SQLException e) {
            return e.getSQLState();
        }
        if (v instanceof Object[]) {
            List<String> words = new ArrayList<>();
            for (Object o : (Object[]) v) words.add(show(o));
            return words.toString();
        }
        return String.valueOf(v);
    }

    static void rows(ResultSet rs) throws SQLException {
        int n = rs.getMetaData().getColumnCount();
        while (rs.next()) {
            List<String> row = new ArrayList<>();
            for (int i = 1; i <= n; i++) row.add(show(rs.getObject(i)));
            System.out.println("row " + row);
        }
        rs.close();
    }

    static void rows(Connection c, String sql) throws SQLException {
        try (Statement s = c.createStatement()) {
            rows(s.executeQuery(sql));
        }
    }

    static void run(Connection c, String sql) throws SQLException {
        try (Statement s = c.createStatement()) {
            s.execute(sql);
        }
    }

    interface Act { void act() throws Exception; }

    /** Runs it, tells its SQLSTATE, and that the connection works on. */
    static void sqlstate(Connection c, Act act) throws Exception {
        try {
            act.act();
            say("ran");
        } catch (SQLException e) {
            say("error", e.getSQLState(), e.getMessage().contains("not today") ? "reason" : "");
            if (!c.getAutoCommit()) c.rollback();
        }
        try (Statement s = c.createStatement(); ResultSet rs = s.executeQuery("SELECT 1")) {
            rs.next();
            say("usable", rs.getInt(1));
        }
    }

    static void update(Connection c, String sql, int id) throws SQLException {
        try (PreparedStatement s = c.prepareStatement(sql)) {
            s.setInt(1, id);
            s.executeUpdate();
        }
    }

    static final Map<String, Act> CHECKS = new LinkedHashMap<>();

    static void connecting() {
        CHECKS.put("connect", () -> {
            try (Connection c = connect("ApplicationName", "matrix")) {
                DatabaseMetaData m = c.getMetaData();
                say(m.getDatabaseProductName(), m.getDatabaseProductVersion(), m.getDriverVersion(), c.isValid(5));
                rows(c, "SELECT ssl, current_user FROM pg_stat_ssl WHERE pid = pg_backend_pid()");
                Map<String, String> status = c.unwrap(PGConnection.class).getParameterStatuses();
                for (String name : List.of("server_encoding", "integer_datetimes", "standard_conforming_strings",
                        "client_encoding", "DateStyle", "TimeZone", "application_name")) say(name, status.get(name));
            }
        });
        CHECKS.put("startup", () -> {
            try (Connection c = connect("ApplicationName", "matrix app", "currentSchema", "public", "readOnly", "true",
                    "options", "-c statement_timeout=54321 -c work_mem=5MB", "defaultRowFetchSize", "10",
                    "connectTimeout", "20", "assumeMinServerVersion", "9.0", "targetServerType", "primary")) {
                for (String name : List.of("TimeZone", "DateStyle", "statement_timeout", "search_path", "application_name",
                        "extra_float_digits", "work_mem")) rows(c, "SHOW " + name);
                run(c, "RESET ALL");
                rows(c, "SHOW extra_float_digits");
                c.setClientInfo("ApplicationName", "renamed");
                rows(c, "SHOW application_name");
                say(c.getSchema(), c.isReadOnly());
            }
        });
    }

    static void results() {
        CHECKS.put("text", () -> {
            for (String mode : List.of("simple", "extended", "extendedForPrepared", "extendedCacheEverything")) {
                try (Connection c = connect("preferQueryMode", mode, "binaryTransfer", "false")) {
                    say(mode);
                    rows(c, "SELECT * FROM kinds ORDER BY id");
                }
            }
        });
        CHECKS.put("binary", () -> {
            try (Connection c = connect("prepareThreshold", "-1");
                    PreparedStatement s = c.prepareStatement("SELECT * FROM kinds WHERE id >= ? ORDER BY id")) {
                for (int n = 0; n < 3; n++) {
                    s.setInt(1, 1);
                    ResultSet rs = s.executeQuery();
                    ResultSetMetaData m = rs.getMetaData();
                    for (int i = 1; i <= m.getColumnCount(); i++) {
                        say(m.getColumnName(i), m.getColumnTypeName(i), m.isNullable(i), m.getPrecision(i));
                    }
                    rows(rs);
                }
            }
        });
        CHECKS.put("prepared", () -> {
            for (String threshold : List.of("1", "5")) {
                try (Connection c = connect("prepareThreshold", threshold, "preparedStatementCacheQueries", "3")) {
                    for (int n = 0; n < 12; n++) {
                        for (int k = 0; k < 5; k++) {
                            String sql = "SELECT id, item, " + k + " FROM orders WHERE id > ? ORDER BY id LIMIT 2";
                            try (PreparedStatement s = c.prepareStatement(sql)) {
                                s.setInt(1, n);
                                rows(s.executeQuery());
                            }
                        }
                    }
                    run(c, "CREATE TEMP TABLE shape (a int)");
                    try (PreparedStatement s = c.prepareStatement("SELECT * FROM shape")) {
                        for (int n = 0; n < 8; n++) rows(s.executeQuery());
                        run(c, "ALTER TABLE shape ADD COLUMN b int");
                        sqlstate(c, () -> rows(s.executeQuery()));
                        sqlstate(c, () -> rows(s.executeQuery()));
                    }
                    try (PreparedStatement s = c.prepareStatement("SELECT ?::int + 1")) {
                        say(s.getParameterMetaData().getParameterTypeName(1), s.getMetaData().getColumnTypeName(1));
                    }
                }
            }
        });
        CHECKS.put("params", () -> {
            try (Connection c = connect()) {
                Object[][] values = {
                    {"bool", true}, {"int2", (short) -32768}, {"int4", Integer.MAX_VALUE}, {"int8", Long.MIN_VALUE},
                    {"float4", 1.5f}, {"float8", 2.25}, {"numeric", new java.math.BigDecimal("12345678901234567890.0123")},
                    {"text", "t ' \\ é🐘"}, {"bytea", new byte[] {0, 1, -1, 39}}, {"date", LocalDate.of(2026, 2, 28)},
                    {"timestamptz", OffsetDateTime.of(2026, 1, 2, 3, 4, 5, 6000, ZoneOffset.UTC)},
                    {"uuid", UUID.fromString("01234567-89ab-cdef-0123-456789abcdef")},
                    {"int4[]", c.createArrayOf("int4", new Integer[] {1, 2, null})},
                    {"text[]", c.createArrayOf("text", new String[] {"a", null, "b,c"})},
                };
                for (Object[] v : values) {
                    for (Object bound : new Object[] {v[1], null}) {
                        String sql = "SELECT ?::" + v[0] + ", ?::" + v[0] + " IS NULL";
                        try (PreparedStatement s = c.prepareStatement(sql)) {
                            for (int n = 0; n < 7; n++) {
                                for (int i = 1; i <= 2; i++) {
                                    if (bound == null) s.setNull(i, Types.OTHER);
                                    else s.setObject(i, bound);
                                }
                                rows(s.executeQuery());
                            }
                        }
                    }
                }
                sqlstate(c, () -> {
                    try (PreparedStatement s = c.prepareStatement("SELECT ?::text::int4")) {
                        s.setString(1, "no number");
                        s.executeQuery();
                    }
                });
            }
        });
    }

    static void sessions() {
        CHECKS.put("transaction", () -> {
            for (String autosave : List.of("never", "conservative", "always")) {
                try (Connection c = connect("autosave", autosave)) {
                    c.setAutoCommit(false);
                    run(c, "INSERT INTO probe VALUES ('kept " + autosave + "')");
                    Savepoint s = c.setSavepoint("mine");
                    try {
                        run(c, "INSERT INTO probe VALUES (NULL)");
                    } catch (SQLException e) {
                        say(e.getSQLState());
                    }
                    c.rollback(s);
                    c.commit();
                    c.setTransactionIsolation(Connection.TRANSACTION_SERIALIZABLE);
                    c.setReadOnly(true);
                    sqlstate(c, () -> run(c, "INSERT INTO probe VALUES ('no')"));
                    c.rollback();
                    rows(c, "SELECT v FROM probe ORDER BY v");
                    c.commit();
                }
            }
        });
        CHECKS.put("errors", () -> {
            try (Connection c = connect()) {
                for (String sql : List.of("SELECT 1/0", "SELECT nothing FROM orders", "SELECT 'x'::int",
                        "INSERT INTO probe VALUES (NULL)", "INSERT INTO kinds (id) VALUES (1)", "SELECT sum(item) FROM orders")) {
                    try {
                        run(c, sql);
                    } catch (PSQLException e) {
                        var m = e.getServerErrorMessage();
                        say(e.getSQLState(), m.getSeverity(), m.getMessage(), m.getDetail(), m.getHint(), m.getPosition(),
                            m.getTable(), m.getColumn(), m.getConstraint());
                    }
                    rows(c, "SELECT 1");
                }
                try (Statement s = c.createStatement()) {
                    s.execute("CREATE TABLE IF NOT EXISTS probe (v text)");
                    for (SQLWarning w = s.getWarnings(); w != null; w = w.getNextWarning()) say(w.getSQLState(), w.getMessage());
                }
            }
        });
        CHECKS.put("cursor", () -> {
            try (Connection c = connect()) {
                c.setAutoCommit(false);
                try (PreparedStatement s = c.prepareStatement("SELECT id, item FROM orders WHERE id > ? ORDER BY id LIMIT 40")) {
                    for (int n = 0; n < 7; n++) {
                        s.setFetchSize(7);
                        s.setInt(1, n);
                        rows(s.executeQuery());
                    }
                    s.setMaxRows(3);
                    rows(s.executeQuery());
                }
                c.commit();
            }
        });
        CHECKS.put("copy", () -> {
            try (Connection c = connect()) {
                var copy = c.unwrap(PGConnection.class).getCopyAPI();
                StringBuilder lines = new StringBuilder();
                for (int n = 0; n < 1000; n++) lines.append("line ").append(n).append("\n");
                say(copy.copyIn("COPY probe FROM STDIN", new StringReader(lines.toString())));
                StringWriter out = new StringWriter();
                say(copy.copyOut("COPY probe TO STDOUT", out), out.toString().length());
                out = new StringWriter();
                copy.copyOut("COPY (SELECT id, item FROM orders ORDER BY id LIMIT 3) TO STDOUT", out);
                say(out);
                run(c, "CREATE TEMP TABLE numbers (a int8, b int8)");
                say(copy.copyIn("COPY numbers FROM STDIN (FORMAT csv)", new StringReader("1,2\n3,4\n")));
                sqlstate(c, () -> copy.copyIn("COPY numbers FROM STDIN", new StringReader("1\tno number\n")));
                var in = copy.copyIn("COPY numbers FROM STDIN");
                in.writeToCopy("5\t6\n".getBytes(), 0, 4);
                in.cancelCopy();
                rows(c, "SELECT count(*) FROM numbers");
            }
        });
        CHECKS.put("pipeline", () -> {
            for (String rewrite : List.of("false", "true")) {
                try (Connection c = connect("reWriteBatchedInserts", rewrite)) {
                    try (PreparedStatement s = c.prepareStatement("INSERT INTO probe VALUES (?)")) {
                        for (int n = 0; n < 1000; n++) {
                            s.setString(1, "batch " + n);
                            s.addBatch();
                        }
                        say(s.executeBatch().length);
                    }
                    try (PreparedStatement s = c.prepareStatement("INSERT INTO probe VALUES (?)", new String[] {"v"})) {
                        for (int n = 0; n < 20; n++) {
                            s.setString(1, "back " + n);
                            s.addBatch();
                        }
                        say(s.executeBatch());
                        rows(s.getGeneratedKeys());
                    }
                    try (PreparedStatement s = c.prepareStatement("INSERT INTO probe SELECT (1 / ?)::text")) {
                        for (int n : new int[] {1, 0, 1}) {
                            s.setInt(1, n);
                            s.addBatch();
                        }
                        s.executeBatch();
                    } catch (BatchUpdateException e) {
                        say(e.getSQLState(), Arrays.toString(e.getUpdateCounts()));
                    }
                    rows(c, "SELECT count(*) FROM probe");
                }
            }
        });
        CHECKS.put("large", () -> {
            try (Connection c = connect(); PreparedStatement s = c.prepareStatement("SELECT length(?), ?::text, repeat('y', ?)")) {
                for (int size : new int[] {1 << 20, 2 << 20}) {
                    String x = "x".repeat(size);
                    s.setString(1, x);
                    s.setString(2, x);
                    s.setInt(3, size);
                    ResultSet rs = s.executeQuery();
                    rs.next();
                    say(rs.getInt(1), rs.getString(2).equals(x), rs.getString(3).length());
                }
            }
            try (Connection c = connect(); PreparedStatement s = c.prepareStatement("SELECT ?::bytea")) {
                byte[] data = new byte[8 << 20];
                Arrays.fill(data, (byte) 7);
                s.setBytes(1, data);
                ResultSet rs = s.executeQuery();
                rs.next();
                say(Arrays.equals(rs.getBytes(1), data));
            }
        });
        CHECKS.put("notify", () -> {
            try (Connection c = connect(); Connection speaker = connect()) {
                run(c, "LISTEN matrix");
                run(speaker, "NOTIFY matrix, 'one'");
                rows(speaker, "SELECT pg_notify('matrix', 'two')");
                int heard = 0;
                while (heard < 2) {
                    var some = c.unwrap(PGConnection.class).getNotifications(10000);
                    if (some == null) break;
                    for (var n : some) {
                        say(n.getName(), n.getParameter());
                        heard++;
                    }
                }
            }
        });
    }

    static void rest() {
        CHECKS.put("cancel", () -> {
            try (Connection c = connect()) {
                sqlstate(c, () -> {
                    try (Statement s = c.createStatement()) {
                        s.setQueryTimeout(PATIENCE);
                        s.executeQuery(LONG);
                    }
                });
                run(c, "SET statement_timeout = 300");
                sqlstate(c, () -> run(c, LONG));
            }
        });
        CHECKS.put("reset", () -> {
            try (Connection c = connect("options", "-c work_mem=5MB")) {
                for (String sql : List.of("RESET ALL", "DISCARD ALL", "SET SESSION AUTHORIZATION DEFAULT", "CLOSE ALL", "UNLISTEN *")) {
                    run(c, "SET work_mem = '6MB'");
                    sqlstate(c, () -> run(c, sql));
                    rows(c, "SHOW work_mem");
                }
                say(c.isValid(5));
            }
        });
        CHECKS.put("introspect", () -> {
            try (Connection c = connect()) {
                DatabaseMetaData m = c.getMetaData();
                rows(m.getSchemas());
                rows(m.getTables(null, "public", "%", null));
                rows(m.getColumns(null, "public", "%", "%"));
                rows(m.getPrimaryKeys(null, "public", "customers"));
                rows(m.getImportedKeys(null, "public", "orders"));
                rows(m.getIndexInfo(null, "public", "orders", false, false));
                rows(m.getTypeInfo());
                rows(m.getFunctions(null, "public", "%"));
                rows(m.getTablePrivileges(null, "public", "orders"));
                say(new TreeSet<>(Arrays.asList(m.getSQLKeywords().split(","))).size());
                try (Statement s = c.createStatement(ResultSet.TYPE_SCROLL_INSENSITIVE, ResultSet.CONCUR_UPDATABLE)) {
                    ResultSet rs = s.executeQuery("SELECT id, item, placed, amount FROM orders WHERE id = 3");
                    rs.next();
                    rs.updateString("item", "changed");
                    rs.updateRow();
                }
                rows(c, "SELECT item FROM orders WHERE id = 3");
            }
        });
        CHECKS.put("multi", () -> {
            for (String mode : List.of("simple", "extended")) {
                try (Connection c = connect("preferQueryMode", mode); Statement s = c.createStatement()) {
                    boolean more = s.execute("SELECT 1; SELECT 2, 3; INSERT INTO probe VALUES ('m'); SELECT v FROM probe WHERE v = 'm'");
                    while (more || s.getUpdateCount() != -1) {
                        if (more) rows(s.getResultSet());
                        else say(s.getUpdateCount());
                        more = s.getMoreResults();
                    }
                    sqlstate(c, () -> run(c, "SELECT 1; SELECT 1/0; INSERT INTO probe VALUES ('never')"));
                    rows(c, "SELECT count(*) FROM probe WHERE v = 'never'");
                    run(c, "");
                    run(c, " ; -- nothing");
                }
            }
        });
        CHECKS.put("masked", () -> {
            String sql = "SELECT id, ssn, email, card FROM customers WHERE id > ? ORDER BY id";
            for (String binary : List.of("false", "true")) {
                try (Connection c = connect("prepareThreshold", "3", "binaryTransfer", binary)) {
                    try (PreparedStatement s = c.prepareStatement(sql)) {
                        for (int n = 0; n < 7; n++) {
                            s.setInt(1, 17);
                            rows(s.executeQuery());
                        }
                    }
                    c.setAutoCommit(false);
                    try (PreparedStatement s = c.prepareStatement(sql)) {
                        s.setFetchSize(2);
                        s.setInt(1, 14);
                        rows(s.executeQuery());
                    }
                    c.rollback();
                }
            }
            try (Connection c = connect("preferQueryMode", "simple")) {
                rows(c, sql.replace("?", "17"));
                StringWriter out = new StringWriter();
                c.unwrap(PGConnection.class).getCopyAPI().copyOut("COPY customers (id, ssn) TO STDOUT", out);
                for (String line : out.toString().split("\n")) say(line);
            }
        });
    }

    static void holds() {
        CHECKS.put("approved", () -> {
            // Heartbeats of the hold keep the socket's timeout away.
            try (Connection c = connect("socketTimeout", "5")) {
                sqlstate(c, () -> run(c, held(1, "approve")));
                sqlstate(c, () -> update(c, held("?", "approve"), 2));
                try (PreparedStatement s = c.prepareStatement(held("?", "approve"))) {
                    for (int n = 3; n < 5; n++) {
                        s.setInt(1, n);
                        s.addBatch();
                    }
                    say(s.executeBatch());
                }
                c.setAutoCommit(false);
                update(c, held("?", "approve"), 5);
                c.commit();
                rows(c, "SELECT id, balance FROM accounts WHERE id < 7 ORDER BY id");
            }
        });
        CHECKS.put("denied", () -> {
            try (Connection c = connect()) {
                sqlstate(c, () -> run(c, held(11, "deny")));
                sqlstate(c, () -> update(c, held("?", "deny"), 12));
                c.setAutoCommit(false);
                sqlstate(c, () -> update(c, held("?", "deny"), 13));
            }
        });
        CHECKS.put("cancelled", () -> {
            try (Connection c = connect()) {
                for (int id : new int[] {21, 22}) {
                    sqlstate(c, () -> {
                        try (PreparedStatement s = c.prepareStatement(held("?", "leave"))) {
                            s.setQueryTimeout(PATIENCE);
                            s.setInt(1, id);
                            s.executeUpdate();
                        }
                    });
                }
            }
        });
    }

    public static void main(String[] args) throws Exception {
        System.setOut(new java.io.PrintStream(System.out, false, "UTF-8"));
        connecting();
        results();
        sessions();
        rest();
        holds();
        say("@version", org.postgresql.util.DriverInfo.DRIVER_VERSION, "(Java " + System.getProperty("java.version") + ")");
        String only = System.getenv("WEIR_CHECK");
        List<String> wanted = only == null || only.isEmpty() ? List.of() : List.of(only.split(","));
        for (var check : CHECKS.entrySet()) {
            if (!wanted.isEmpty() && !wanted.contains(check.getKey())) continue;
            say("@check", check.getKey());
            try {
                check.getValue().act();
            } catch (Exception e) {
                say("UNEXPECTED", e, Arrays.toString(Arrays.stream(e.getStackTrace())
                    .filter(f -> f.getClassName().startsWith("Matrix")).toArray()));
            }
        }
        say("@end");
        System.out.flush();
        System.exit(0);
    }
}
