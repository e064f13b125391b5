-- Departures out of New York in January 2013: where, when and with whom to wait.
SET 'pipeline.name' = 'delays';
SET 'execution.checkpointing.interval' = '1s';
SET 'table.local-time-zone' = 'UTC';

CREATE TABLE IF NOT EXISTS flights (
  sched_dep TIMESTAMP(3), actual_dep TIMESTAMP(3), carrier STRING, flight INT, tailnum STRING,
  origin STRING, dest STRING, dep_delay_min INT, arr_delay_min INT, air_time_min INT, distance_mi INT,
  -- A departure is known when it has happened, up to 21.7 hours after its schedule: with a day, nothing is late.
  WATERMARK FOR sched_dep AS sched_dep - INTERVAL '1' DAY
) WITH ('connector' = 'filesystem', 'path' = 'examples/flights/data/flights', 'format' = 'csv', 'csv.null-literal' = '');

CREATE TABLE IF NOT EXISTS weather (
  time_hour TIMESTAMP(3), origin STRING, temp_f DOUBLE, humidity_pct DOUBLE, wind_speed_mph DOUBLE,
  precip_in DOUBLE, visibility_mi DOUBLE,
  WATERMARK FOR time_hour AS time_hour - INTERVAL '1' DAY
) WITH ('connector' = 'filesystem', 'path' = 'examples/flights/data/weather', 'format' = 'csv', 'csv.null-literal' = '');

CREATE TABLE IF NOT EXISTS airlines (carrier STRING, name STRING)
WITH ('connector' = 'filesystem', 'path' = 'examples/flights/data/airlines', 'format' = 'csv');

CREATE TABLE IF NOT EXISTS hourly_delays (
  origin STRING, window_start TIMESTAMP(3), flights BIGINT, cancelled BIGINT, mean_delay DOUBLE, max_delay INT
) WITH ('connector' = 'filesystem', 'path' = 'target/delays/hourly', 'format' = 'csv');

CREATE TABLE IF NOT EXISTS worst_carriers (
  origin STRING, window_start TIMESTAMP(3), carrier STRING, name STRING, mean_delay DOUBLE, flights BIGINT, rownum BIGINT
) WITH ('connector' = 'filesystem', 'path' = 'target/delays/worst_carriers', 'format' = 'csv');

CREATE TABLE IF NOT EXISTS alerts (
  origin STRING, window_start TIMESTAMP(3), window_end TIMESTAMP(3), departures BIGINT, mean_delay DOUBLE,
  temp_f DOUBLE, wind_speed_mph DOUBLE, precip_in DOUBLE
) WITH ('connector' = 'print');

CREATE VIEW IF NOT EXISTS delayed AS
SELECT origin, window_start, window_end, window_time AS alert_time, COUNT(*) AS departures,
       AVG(CAST(dep_delay_min AS DOUBLE)) AS mean_delay
FROM TABLE(HOP(TABLE flights, DESCRIPTOR(sched_dep), INTERVAL '30' MINUTE, INTERVAL '3' HOUR))
WHERE dep_delay_min IS NOT NULL
GROUP BY origin, window_start, window_end, window_time
HAVING COUNT(*) >= 20 AND AVG(CAST(dep_delay_min AS DOUBLE)) > 30;

EXECUTE STATEMENT SET BEGIN

INSERT INTO hourly_delays
SELECT origin, window_start, COUNT(*), COUNT(*) FILTER (WHERE actual_dep IS NULL),
       AVG(CAST(dep_delay_min AS DOUBLE)), MAX(dep_delay_min)
FROM TABLE(TUMBLE(TABLE flights, DESCRIPTOR(sched_dep), INTERVAL '1' HOUR))
GROUP BY origin, window_start, window_end;

INSERT INTO worst_carriers
SELECT t.origin, t.window_start, t.carrier, a.name, t.mean_delay, t.flights, t.rownum
FROM (
  SELECT origin, window_start, carrier, mean_delay, flights, rownum FROM (
    SELECT *, ROW_NUMBER() OVER (PARTITION BY window_start, window_end, origin
                                 ORDER BY mean_delay DESC, carrier) AS rownum
    FROM (
      SELECT origin, carrier, window_start, window_end,
             AVG(CAST(dep_delay_min AS DOUBLE)) AS mean_delay, COUNT(*) AS flights
      FROM TABLE(TUMBLE(TABLE flights, DESCRIPTOR(sched_dep), INTERVAL '1' DAY))
      WHERE dep_delay_min IS NOT NULL
      GROUP BY origin, carrier, window_start, window_end)
  ) WHERE rownum <= 3
) AS t
JOIN airlines AS a ON t.carrier = a.carrier;

-- Not every hour has weather: a LEFT JOIN keeps those alerts, with NULLs.
INSERT INTO alerts
SELECT d.origin, d.window_start, d.window_end, d.departures, d.mean_delay, w.temp_f, w.wind_speed_mph, w.precip_in
FROM delayed AS d LEFT JOIN weather AS w
ON d.origin = w.origin
   AND w.time_hour BETWEEN d.alert_time - INTERVAL '59' MINUTE - INTERVAL '59.999' SECOND AND d.alert_time;

END;
