-- Q1 pass-through with rename
SELECT deviceId, temp AS celsius, System.Timestamp() AS at INTO archive FROM tele TIMESTAMP BY t
-- Q2 unit conversion + filter
SELECT deviceId, fahrenheit = temp * 1.8 + 32 INTO hot FROM tele TIMESTAMP BY t WHERE temp > 80
-- Q3 per-minute statistics per device
SELECT deviceId, System.Timestamp() AS endAt, COUNT(*) AS n, AVG(temp) AS avgT, MIN(temp) AS lo, MAX(temp) AS hi, STDEV(temp) AS sd
INTO stats FROM tele TIMESTAMP BY t GROUP BY deviceId, TumblingWindow(minute, 1)
-- Q4 last 10 minutes, every 15 seconds
SELECT deviceId, AVG(power) AS p INTO rolling FROM tele TIMESTAMP BY t GROUP BY deviceId, HoppingWindow(second, 600, 15)
-- Q5 hop that does not divide the size
SELECT site, SUM(power) AS p INTO odd FROM tele TIMESTAMP BY t GROUP BY site, Hopping(Duration(minute,10), Hop(minute,7))
-- Q6 start-inclusive hour
SELECT site, COUNT(*) AS n INTO hourly FROM tele TIMESTAMP BY t GROUP BY site, TumblingWindow(Duration(hour,1), Offset(millisecond,-1))
-- Q7 burst alarm
SELECT deviceId, COUNT(*) AS n INTO burst FROM tele TIMESTAMP BY t GROUP BY deviceId, SlidingWindow(second, 5) HAVING COUNT(*) > 20
-- Q8 work sessions
SELECT deviceId, MIN(t) AS began, System.Timestamp() AS ended, COUNT(*) AS n INTO sess FROM tele TIMESTAMP BY t
GROUP BY deviceId, SessionWindow(minute, 5, 60) OVER (PARTITION BY deviceId)
-- Q9 snapshot of a minute step: devices and readings per site
WITH m AS (SELECT site, deviceId, COUNT(*) AS n FROM tele TIMESTAMP BY t GROUP BY site, deviceId, TumblingWindow(minute,1))
SELECT site, COUNT(*) AS devices, SUM(n) AS readings INTO perSite FROM m GROUP BY site, System.Timestamp()
-- Q10 several windows in one pass
SELECT System.Window().Id AS w, deviceId, AVG(vib) AS v INTO multi FROM tele TIMESTAMP BY t
GROUP BY deviceId, Windows(Window('1m',Tumbling(minute,1)), Window('15m',Hopping(minute,15,1)), Window('1h',Hopping(minute,60,5)))
-- Q11 per-device clocks
SELECT deviceId, MAX(temp) AS hi INTO peaks FROM tele TIMESTAMP BY t OVER deviceId GROUP BY deviceId, TumblingWindow(minute,5)
-- Q12 epoch milliseconds, two firmware layouts
SELECT deviceId, COUNT(*) AS n INTO both FROM tele TIMESTAMP BY CASE fw WHEN 1 THEN DATEADD(millisecond, ms, '1970-01-01T00:00:00Z') ELSE t END
GROUP BY deviceId, Tumbling(second,10)
-- Q13 rate of change
SELECT deviceId, temp - LAG(temp) OVER (PARTITION BY deviceId LIMIT DURATION(minute,5)) AS delta INTO rate FROM tele TIMESTAMP BY t
-- Q14 threshold crossing, only the edge
SELECT deviceId, temp INTO crossed FROM tele TIMESTAMP BY t
WHERE temp > 90 AND LAG(temp,1,0) OVER (PARTITION BY deviceId LIMIT DURATION(hour,1)) <= 90
-- Q15 last known good value
SELECT deviceId, LAST(temp) OVER (PARTITION BY deviceId LIMIT DURATION(hour,1) WHEN temp IS NOT NULL) AS t0 INTO lkg FROM tele TIMESTAMP BY t
-- Q16 first report of each 10 minutes
SELECT deviceId, temp INTO firsts FROM tele TIMESTAMP BY t WHERE ISFIRST(minute,10) OVER (PARTITION BY deviceId) = 1
-- Q17 silence alarm: started but not stopped within 15 minutes
SELECT a.deviceId, a.t AS startedAt INTO stuck FROM tele a TIMESTAMP BY t LEFT JOIN tele b TIMESTAMP BY t
ON a.deviceId = b.deviceId AND b.state = 'stop' AND DATEDIFF(minute, a, b) BETWEEN 0 AND 15 WHERE a.state = 'start' AND b.deviceId IS NULL
-- Q18 command/response latency
SELECT c.deviceId, DATEDIFF(millisecond, c.t, r.t) AS ms INTO lat FROM cmds c TIMESTAMP BY t JOIN replies r TIMESTAMP BY t
ON c.id = r.id AND DATEDIFF(second, c, r) BETWEEN 0 AND 30
-- Q19 per-device threshold from the twin
SELECT s.deviceId, s.temp, w.maxTemp INTO alarms FROM tele s TIMESTAMP BY t JOIN twin w ON s.deviceId = w.deviceId WHERE s.temp > w.maxTemp
-- Q20 percentiles and top list per site
SELECT site, PERCENTILE_CONT(0.95) OVER (ORDER BY temp) AS p95, CollectTop(3) OVER (ORDER BY temp DESC) AS worst
INTO site95 FROM tele TIMESTAMP BY t GROUP BY site, TumblingWindow(minute,5)
-- Q21 distinct active devices per site, exact and approximate
SELECT site, COUNT(DISTINCT deviceId) AS d, APPROX_COUNT_DISTINCT(deviceId) AS ad INTO act FROM tele TIMESTAMP BY t GROUP BY site, Tumbling(hour,1)
-- Q22 arrays: one row per channel
SELECT e.deviceId, c.ArrayIndex AS ch, c.ArrayValue.value AS v INTO chans FROM tele e TIMESTAMP BY t CROSS APPLY GetArrayElements(e.channels) AS c
-- Q23 duplicates removed by (device, seq) within 5 minutes
SELECT * INTO clean FROM tele TIMESTAMP BY t WHERE ISFIRST(minute,5) OVER (PARTITION BY deviceId, seq) = 1
-- Q24 geofence leave
SELECT s.deviceId, f.zone INTO left FROM gps s TIMESTAMP BY t JOIN fences f ON s.deviceId = f.deviceId WHERE ST_WITHIN(CreatePoint(s.lat, s.lon), f.shape) = 0
-- Q25 two outputs from one cleaned step, bad rows kept
WITH typed AS (SELECT *, TRY_CAST(temp AS float) AS tf FROM tele TIMESTAMP BY t)
SELECT deviceId, AVG(tf) AS a INTO good FROM typed WHERE tf IS NOT NULL GROUP BY deviceId, Tumbling(minute,1)
SELECT * INTO bad FROM typed WHERE tf IS NULL
-- Q26 rolling maximum on every row, no window
SELECT deviceId, temp, MAX(temp) OVER (PARTITION BY deviceId LIMIT DURATION(minute,30)) AS peak INTO onrow FROM tele TIMESTAMP BY t
-- Q27 late corrections for billing (EXT)
SELECT site, SUM(power) AS kwh INTO bill FROM tele TIMESTAMP BY t GROUP BY site, Tumbling(hour,1) GRACE Duration(hour,6)
-- Q28 spike detection on a smoothed series
WITH s AS (SELECT deviceId, AVG(vib) AS v FROM tele TIMESTAMP BY t GROUP BY deviceId, Tumbling(second,1))
SELECT deviceId, AnomalyDetection_SpikeAndDip(v, 95, 120, 'spikes') OVER (PARTITION BY deviceId LIMIT DURATION(second,120)) AS r INTO spikes FROM s
