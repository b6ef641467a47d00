toolkit keys new camera-7 --per-minute 600 > key; toolkit keys new prometheus --scope metrics > metrics_key; toolkit keys list
mkfifo line; toolkit serve garbage_classification --port 0 --keys keys.json --log-format json > line 2> log & read -r said < line; url=$(echo "$said" | grep -o 'http://[^ ]*')
ask() { echo "# ${*: -1}"; curl --silent --noproxy '*' --write-out ' [%{http_code}]\n' -H "Authorization: Bearer $(cat key)" "${@:1:$#-1}"; }
echo '# no key'; curl --silent --noproxy '*' --write-out ' [%{http_code}]\n' "${url}metadata"
ask "${url}metrics" 'a key without the scope'
ask "${url}health/ready" 'health needs none'
ask --data-binary @huge.png "${url}predict" '400 megapixels in a few bytes'
python -c "import gzip; open('zeros.gz', 'wb').write(gzip.compress(bytes(100 * 10**6)))"; ls -l zeros.gz | awk '{print $5, "bytes"}'
ask --data-binary @zeros.gz -H 'Content-Encoding: gzip' "${url}predict" 'which are 100 MB of zeros'
ask --data-binary @broken.jpg "${url}predict" 'half a picture'
ask -H 'Content-Type: application/json' --data '{"image": "https://169.254.169.254/secrets"}' "${url}image-classification" 'a URL'
ask -o seen.png -H 'Accept: image/png' --data-binary "@$ROOT/demos/pictures/cardboard_box.jpg" "${url}predict" 'a picture'
curl --silent --noproxy '*' -H "Authorization: Bearer $(cat metrics_key)" "${url}metrics" > metrics.txt; promtool check metrics < metrics.txt && grep -E '^toolkit_(requests_total|model_info|ready)' metrics.txt
kill %1; wait %1; echo "exit code $?"; tail -n 1 log
