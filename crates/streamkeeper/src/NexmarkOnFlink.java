import java.lang.management.ManagementFactory;
import java.nio.file.Files;
import java.nio.file.Path;
import org.apache.flink.table.api.EnvironmentSettings;
import org.apache.flink.table.api.TableEnvironment;
import org.apache.flink.table.api.TableResult;

/** Runs a script of SET, CREATE and one INSERT in Flink's local cluster, and prints what the process has used as JSON. */
public class NexmarkOnFlink {
    public static void main(String[] args) throws Exception {
        TableEnvironment env = TableEnvironment.create(EnvironmentSettings.inStreamingMode());
        long start = System.nanoTime();
        for (String statement : Files.readString(Path.of(args[0])).split(";\\s*\\n")) {
            String[] quoted = statement.trim().split("'");
            if (statement.isBlank()) {
                continue;
            } else if (statement.trim().startsWith("SET")) {
                env.getConfig().set(quoted[1], quoted[3]);
            } else {
                TableResult result = env.executeSql(statement);
                if (statement.trim().startsWith("INSERT")) {
                    result.await();
                }
            }
        }
        double wall = (System.nanoTime() - start) / 1e9;
        var os = (com.sun.management.OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean();
        long peak = 0;
        for (String line : Files.readAllLines(Path.of("/proc/self/status"))) {
            if (line.startsWith("VmHWM:")) {
                peak = Long.parseLong(line.replaceAll("[^0-9]", "")) * 1024;
            }
        }
        System.out.printf(
                java.util.Locale.ROOT, "{\"wall_s\": %.3f, \"cpu_s\": %.3f, \"peak_bytes\": %d}%n",
                wall, os.getProcessCpuTime() / 1e9, peak);
    }
}
